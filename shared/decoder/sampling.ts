// Chooses the next token of one row from its logits. Pure arithmetic on one Float32Array; the row's history is the
// caller's. Filters look only at as much of the vocabulary as they need, because sorting 49,000 logits for every token
// would cost more than a small model's step.
/**
 * How a token is chosen, applied in this order: logitBias, penalties (over what was generated so far), temperature,
 * topK, topP, minP. Temperature 0 takes the likeliest; topK 0, topP 1 and minP 0 are off.
 */
export type Sampling = {
  maxTokens: number;
  temperature: number;
  topP: number;
  topK: number;
  minP: number;
  frequencyPenalty: number;
  presencePenalty: number;
  /** Token id to what is added to its logit. */
  logitBias: Record<number, number>;
  seed: number;
  /** Texts that end a generation; they are cut from its text, and so is what follows them. */
  stop: string[];
  /** How many of the likeliest tokens to report at each step. */
  topLogprobs: number;
};

/** Log-probabilities are the policy's own: before bias, penalties and temperature. */
export type TokenLogprob = { tokenId: number; logprob: number };

/** Below this a temperature is as good as zero, and dividing by it is not. */
const COLD = 1e-5;

export type Shaping = Pick<
  Sampling,
  'temperature' | 'topP' | 'topK' | 'minP' | 'frequencyPenalty' | 'presencePenalty' | 'logitBias'
>;

/**
 * logits [V] and their log-sum-exp → a token id. `counts` says how often each token was generated so far, `uniform`
 * gives a number in [0, 1). The logits are changed in place.
 */
export function sampleToken(
  logits: Float32Array,
  logNormalizer: number,
  shaping: Shaping,
  counts: ReadonlyMap<number, number>,
  uniform: () => number,
): number {
  const isShaped = shapeLogits(logits, shaping, counts);
  const isFiltered = shaping.topP < 1 || shaping.minP > 0 || (shaping.topK > 0 && shaping.topK < logits.length);
  if (!isShaped && !isFiltered && shaping.temperature === 1) return drawPlainly(logits, logNormalizer, uniform());

  const best = findLargest(logits);
  if (shaping.temperature < COLD) return best;
  const weights = weighTokens(logits, logits[best]!, shaping.temperature);
  return isFiltered ? draw(filterTokens(weights, shaping), uniform()) : drawFromAll(weights, uniform());
}

/** The `count` likeliest tokens under softmax(logits), likeliest first. */
export function rankTokens(logits: Float32Array, logNormalizer: number, count: number): TokenLogprob[] {
  const ranked: TokenLogprob[] = [];
  if (count === 0) return ranked;
  for (let token = 0; token < logits.length; token++) {
    const logprob = logits[token]! - logNormalizer;
    if (ranked.length === count && logprob <= ranked[count - 1]!.logprob) continue;
    let place = ranked.length;
    while (place > 0 && ranked[place - 1]!.logprob < logprob) place--;
    ranked.splice(place, 0, { tokenId: token, logprob });
    if (ranked.length > count) ranked.pop();
  }
  return ranked;
}

/** Applies biases and penalties; whether there were any. */
function shapeLogits(logits: Float32Array, shaping: Shaping, counts: ReadonlyMap<number, number>): boolean {
  let isShaped = false;
  for (const token in shaping.logitBias) {
    const id = Number(token);
    if (id < logits.length) logits[id]! += shaping.logitBias[id]!;
    isShaped = true;
  }
  const { frequencyPenalty, presencePenalty } = shaping;
  if (frequencyPenalty === 0 && presencePenalty === 0) return isShaped;
  for (const [token, count] of counts) logits[token]! -= count * frequencyPenalty + presencePenalty;
  return true;
}

/**
 * The usual case needs neither the largest logit nor the total, which the graph has computed, and so can stop at the
 * token it draws. Vocabularies begin with their commonest tokens: that is soon.
 */
function drawPlainly(logits: Float32Array, logNormalizer: number, uniform: number): number {
  let rest = uniform;
  for (let token = 0; token < logits.length; token++) {
    rest -= exponentiate((logits[token]! - logNormalizer) * STEPS);
    if (rest < 0) return token;
  }
  // Rounding can leave a crumb of a millionth behind the last token.
  return findLargest(logits);
}

function findLargest(logits: Float32Array): number {
  let best = 0;
  for (let token = 1; token < logits.length; token++) if (logits[token]! > logits[best]!) best = token;
  return best;
}

let scratch = new Float64Array(0);

/**
 * exp((logit − peak) / temperature) of each token, in a buffer that the next call reuses. Relative to the largest, which
 * is 1, because a bias of 100 and a temperature of 0.01 must not overflow.
 */
function weighTokens(logits: Float32Array, peak: number, temperature: number): Float64Array {
  if (scratch.length !== logits.length) scratch = new Float64Array(logits.length);
  const weights = scratch;
  const scale = STEPS / temperature;
  for (let token = 0; token < weights.length; token++) weights[token] = exponentiate((logits[token]! - peak) * scale);
  return weights;
}

/** 2^(steps / 1024) is exp of what was multiplied by this. */
const STEPS = 1024 / Math.LN2;
const FRACTIONS = Float64Array.from({ length: 1024 }, (_, i) => 2 ** (i / 1024));
const POWERS = Float64Array.from({ length: 1025 }, (_, i) => 2 ** (i - 1023));

/**
 * exp(steps / STEPS) of a number that is not much above zero, within 1e-10: a table of 2^(i/1024) and the first terms of
 * the series for the rest. Math.exp is a call per token of the vocabulary and took most of a sampled step.
 */
function exponentiate(steps: number): number {
  if (!(steps > -1_000_000)) return 0;
  const whole = steps | 0;
  const rest = (steps - whole) * (Math.LN2 / 1024);
  return POWERS[(whole >> 10) + 1023]! * FRACTIONS[whole & 1023]! * (1 + rest * (1 + rest * 0.5));
}

function sum(weights: Float64Array): number {
  let total = 0;
  for (let token = 0; token < weights.length; token++) total += weights[token]!;
  return total;
}

function drawFromAll(weights: Float64Array, uniform: number): number {
  let rest = uniform * sum(weights);
  for (let token = 0; token < weights.length; token++) {
    rest -= weights[token]!;
    if (rest < 0) return token;
  }
  // Rounding can leave a crumb behind the last token; it belongs to the last one that has any weight.
  return weights.findLastIndex((weight) => weight > 0);
}

type Candidate = { token: number; weight: number };

function draw(candidates: Candidate[], uniform: number): number {
  let rest = uniform * candidates.reduce((sum, { weight }) => sum + weight, 0);
  for (const { token, weight } of candidates) {
    rest -= weight;
    if (rest < 0) return token;
  }
  return candidates.findLast(({ weight }) => weight > 0)!.token;
}

/** topK, then topP of what remains, then minP relative to the likeliest; likeliest first. */
function filterTokens(weights: Float64Array, shaping: Shaping): Candidate[] {
  const size = weights.length;
  const keep = shaping.topK > 0 ? Math.min(shaping.topK, size) : size;
  const total = sum(weights);
  let candidates: Candidate[] = [];
  for (const threshold of [1e-2, 1e-4, 0]) {
    candidates = [];
    let mass = 0;
    for (let token = 0; token < size; token++) {
      const weight = weights[token]!;
      if (weight < threshold) continue;
      candidates.push({ token, weight });
      mass += weight;
    }
    if (candidates.length >= keep) break;
    if (shaping.topP < 1 ? keep === size && mass >= shaping.topP * total : shaping.minP >= threshold) break;
  }
  candidates.sort((a, b) => b.weight - a.weight || a.token - b.token);
  candidates = cutToMass(candidates.slice(0, keep), keep < size ? null : total, shaping.topP);
  return candidates.filter(({ weight }) => weight >= shaping.minP);
}

/** The fewest leading candidates whose weights reach `share` of the total; at least one. */
function cutToMass(candidates: Candidate[], total: number | null, share: number): Candidate[] {
  if (share >= 1) return candidates;
  const goal = share * (total ?? candidates.reduce((sum, { weight }) => sum + weight, 0));
  let mass = 0;
  for (let i = 0; i < candidates.length; i++) {
    mass += candidates[i]!.weight;
    if (mass >= goal) return candidates.slice(0, i + 1);
  }
  return candidates;
}
