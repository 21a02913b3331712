// What a policy makes of the held-out pairs (the objective, the field's reward metrics, each pair's log-probabilities,
// whose distributions people look at), and what it writes by itself beside its parent: how far that is from the
// reference, how long, how repetitive. Everything comes with the interval that so few pairs and draws leave open.
import type { Interval } from '../../shared/database/round-types.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/safetensors.ts';
import type { Engine, PairOutcome, Sequence, TrainPair } from '../engine/engine.ts';
import { type Estimate, estimate, estimateMean, ratio } from './confidence-interval.ts';
import { countRepeats, type Draw, drawResponses, planDraws, shareDistinct } from './rollouts.ts';

export type Evaluation = {
  metrics: Record<string, number>;
  /** Of some metrics; null where there are too few prompts to say. */
  intervals: Record<string, Interval | null>;
  /** mean log-probability per token of each pair's responses */
  logps: { chosen: number[]; rejected: number[] };
  outcomes: PairOutcome[];
  /** The prompt of each pair: pairs of one prompt are resampled together. */
  prompts: string[];
};

/** One forward pass over the pairs. */
export async function evaluatePolicy(engine: Engine, pairs: TrainPair[], seed = 0): Promise<Evaluation> {
  const { loss, metrics, outcomes } = await engine.evaluate(pairs);
  const prompts = pairs.map(({ chosen }) => chosen.promptIds.join());
  const interval = (values: number[]) => estimateMean(values, prompts, seed).interval;
  const margins = outcomes.map(({ chosenLogRatio, rejectedLogRatio }) => chosenLogRatio - rejectedLogRatio);
  return {
    metrics: { loss, ...metrics },
    intervals: {
      loss: interval(outcomes.map((outcome) => outcome.loss)),
      'rewards/margins': interval(margins),
      'rewards/accuracies': interval(margins.map((margin) => (margin > 0 ? 1 : 0))),
    },
    logps: {
      chosen: pairs.map(({ chosen }, at) => outcomes[at]!.chosenLogp / chosen.responseIds.length),
      rejected: pairs.map(({ rejected }, at) => outcomes[at]!.rejectedLogp / rejected.responseIds.length),
    },
    outcomes,
    prompts,
  };
}

export type SampleEvaluation = {
  /** objective/kl and completions/…, of the candidate */
  metrics: Record<string, number>;
  /** The parent's completions/… */
  parent: Record<string, number>;
  /** KL(policy ‖ reference) in nats: of a whole response, and for each of its tokens. */
  kl: Estimate;
  klPerToken: Estimate;
  /** Mean length, the candidate's over the parent's. */
  lengthRatio: Estimate;
  /** Share of repeated runs of four tokens, the candidate's minus the parent's. */
  repetitionGrowth: Estimate;
  draws: number;
};

export type SampleOptions = {
  architecture: Architecture;
  /** Whose prompts are answered. */
  heldOut: TrainPair[];
  /** Holds the candidate. */
  engine: Engine;
  readParent(): Promise<Weights>;
  /** Opened after both have written, for one scoring; closed at once. */
  openReference(): Promise<Engine>;
  effort: number;
  seed: number;
  threads: number;
  /** Where temporary files go; needs room for the float32 weights. */
  folder: string;
  onProgress(done: number, total: number): void;
};

const DRAWS = 64;
const FEWEST_DRAWS = 16;
const CHUNK = 64;

/**
 * Parent and candidate answer the same prompts by the same seeds; the candidate's answers are scored by itself and by
 * the reference. Beside the candidate's engine one other model is in memory at a time.
 */
export async function evaluateSamples(options: SampleOptions): Promise<SampleEvaluation> {
  const { architecture, folder, seed, threads, engine } = options;
  const count = Math.max(FEWEST_DRAWS, Math.round(DRAWS * options.effort));
  const draws = planDraws(options.heldOut, count, architecture);
  // Written by both, then scored by two.
  const tell = (stage: number) => (done: number) => options.onProgress(stage * count + done, 4 * count);
  const write = async (weights: Weights, stage: number) =>
    drawResponses({ architecture, weights, folder, seed, threads }, draws, tell(stage));
  const before = await write(await options.readParent(), 0);
  const after = await write(await engine.weights(), 1);
  const own = await scoreInChunks(engine, after, tell(2));
  const reference = await options.openReference();
  try {
    return compareSamples(draws, before, after, own, await scoreInChunks(reference, after, tell(3)), options);
  } finally {
    await reference.close();
  }
}

async function scoreInChunks(engine: Engine, sequences: Sequence[], tell: (done: number) => void): Promise<number[]> {
  const sums: number[] = [];
  for (let at = 0; at < sequences.length; at += CHUNK) {
    const logps = await engine.score(sequences.slice(at, at + CHUNK));
    sums.push(...logps.map((own) => own.reduce((sum, logp) => sum + logp, 0)));
    tell(sums.length);
  }
  return sums;
}

/** own and reference [draws] are summed log-probabilities of what the candidate wrote. */
function compareSamples(
  draws: Draw[],
  before: Sequence[],
  after: Sequence[],
  own: number[],
  reference: number[],
  { seed, architecture }: SampleOptions,
): SampleEvaluation {
  const prompts = draws.map(({ prompt }) => prompt);
  const [old, now] = [describe(before, architecture), describe(after, architecture)];
  const ratios = own.map((logp, at) => logp - reference[at]!);
  const kl = estimateMean(ratios, prompts, seed);
  const klPerToken = estimate(prompts, (weights) => ratio(weights, ratios, now.lengths), seed);
  return {
    metrics: { 'objective/kl': kl.value, 'objective/kl_per_token': klPerToken.value, ...now.metrics },
    parent: old.metrics,
    kl,
    klPerToken,
    lengthRatio: estimate(prompts, (weights) => ratio(weights, now.lengths, old.lengths), seed),
    repetitionGrowth: estimate(
      prompts,
      (weights) => ratio(weights, now.repeated, now.runs) - ratio(weights, old.repeated, old.runs),
      seed,
    ),
    draws: draws.length,
  };
}

function describe(sequences: Sequence[], { eos }: Architecture) {
  const responses = sequences.map(({ responseIds }) => responseIds);
  const lengths = responses.map(({ length }) => length);
  const repeats = responses.map(countRepeats);
  const [repeated, runs] = [repeats.map((own) => own.repeated), repeats.map((own) => own.total)];
  const all = new Float64Array(responses.length).fill(1);
  return {
    lengths,
    repeated,
    runs,
    metrics: {
      'completions/mean_length': ratio(all, lengths),
      'completions/clipped_ratio': ratio(
        all,
        responses.map((tokens) => (eos.includes(tokens.at(-1)!) ? 0 : 1)),
      ),
      'completions/repetition': ratio(all, repeated, runs),
      'completions/distinct_2': shareDistinct(responses, 2),
    },
  };
}
