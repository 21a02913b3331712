// A reference decoder for tests: plain double-precision JavaScript, one token at a time, without optimizations. It shares
// no code with the trainer's decoder.
import type { Architecture } from '../shared/model/architecture.ts';
import type { Weights } from '../shared/model/tensor.ts';

type Vector = Float64Array;

/** Logits [T][V] after each of T tokens. */
export function referenceLogits(a: Architecture, weights: Weights, ids: number[]): Vector[] {
  const keys: Vector[][] = Array.from({ length: a.layers }, () => []);
  const values: Vector[][] = Array.from({ length: a.layers }, () => []);
  const row = (name: string, index: number) =>
    Float64Array.from(weights.get(name)!.data.subarray(index * a.hiddenSize, (index + 1) * a.hiddenSize));
  const linear = (name: string, x: Vector) => {
    const product = multiply(weights.get(`${name}.weight`)!.data, x);
    const bias = weights.get(`${name}.bias`);
    return bias ? sum(product, bias.data) : product;
  };
  const norm = (name: string, x: Vector) =>
    normalize(x, weights.get(`${name}.weight`)!.data, weights.get(`${name}.bias`)?.data, a);
  return ids.map((id, t) => {
    let x = row('model.embed_tokens.weight', id).map((v) => v * a.embeddingScale);
    if (a.positions === 'learned') x = sum(x, row('model.embed_positions.weight', t));
    for (let layer = 0; layer < a.layers; layer++) {
      const name = (part: string) => `model.layers.${layer}.${part}`;
      const project = (kind: 'q' | 'k', input: Vector) => {
        const heads = linear(name(`self_attn.${kind}_proj`), input);
        return applyRotary(
          a.queryKeyNorm ? normalizeHeads(heads, weights.get(name(`self_attn.${kind}_norm.weight`))!.data, a) : heads,
          t,
          a,
        );
      };
      const attentionInput = norm(name('input_layernorm'), x);
      keys[layer]!.push(project('k', attentionInput));
      values[layer]!.push(linear(name('self_attn.v_proj'), attentionInput));
      const attended = attend(project('q', attentionInput), keys[layer]!, values[layer]!, a);
      const afterAttention = sum(x, linear(name('self_attn.o_proj'), attended));
      const ffnInput = norm(name('post_attention_layernorm'), a.parallelResidual ? x : afterAttention);
      const up = linear(name('mlp.up_proj'), ffnInput);
      const inner = a.gated
        ? linear(name('mlp.gate_proj'), ffnInput).map((g, i) => activate(g, a) * up[i]!)
        : up.map((u) => activate(u, a));
      x = sum(afterAttention, linear(name('mlp.down_proj'), inner));
    }
    return linear(a.tied ? 'model.embed_tokens' : 'lm_head', norm('model.norm', x));
  });
}

/** r(x, y) of a reward, for the ids of a prompt and its response. */
export function referenceReward(a: Architecture, weights: Weights, ids: number[]): number {
  // The reward's head in place of the output layer: one logit.
  const withHead = new Map(weights).set('lm_head.weight', weights.get('score.weight')!);
  return referenceLogits({ ...a, tied: false }, withHead, ids).at(-1)![0]!;
}

/** The log-probability of each response token. */
export function referenceLogps(
  a: Architecture,
  weights: Weights,
  promptIds: number[],
  responseIds: number[],
): number[] {
  const logits = referenceLogits(a, weights, [...promptIds, ...responseIds]);
  return responseIds.map((id, j) => {
    const row = logits[promptIds.length - 1 + j]!;
    return row[id]! - Math.log(row.reduce((total, z) => total + Math.exp(z), 0));
  });
}

function attend(q: Vector, keys: Vector[], values: Vector[], a: Architecture): Vector {
  const out = new Float64Array(a.heads * a.headDim);
  for (let head = 0; head < a.heads; head++) {
    const queryOffset = head * a.headDim;
    const keyOffset = Math.floor(head / (a.heads / a.kvHeads)) * a.headDim;
    const weights = keys.map((key) => {
      let score = 0;
      for (let i = 0; i < a.headDim; i++) score += q[queryOffset + i]! * key[keyOffset + i]!;
      return Math.exp(score / Math.sqrt(a.headDim));
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const [s, value] of values.entries())
      for (let i = 0; i < a.headDim; i++) out[queryOffset + i]! += (weights[s]! / total) * value[keyOffset + i]!;
  }
  return out;
}

/** Rotates the first `dims` of each head in pairs (i, i + dims/2). */
function applyRotary(x: Vector, position: number, a: Architecture): Vector {
  if (a.positions !== 'rotary') return x;
  const dims = Math.floor(a.headDim * a.rotaryShare);
  const half = dims / 2;
  return x.map((value, index) => {
    const i = index % a.headDim;
    if (i >= dims) return value;
    const angle = position * scaleFrequency(1 / a.ropeTheta ** ((i % half) / half), a);
    const other = i < half ? -x[index + half]! : x[index - half]!;
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}

/** Radians per position, after the model's RoPE scaling. */
function scaleFrequency(frequency: number, { ropeScaling: scaling }: Architecture): number {
  if (!scaling) return frequency;
  if (scaling.type === 'linear') return frequency / scaling.factor;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < scaling.originalContext / scaling.highFrequencyFactor) return frequency;
  if (wavelength > scaling.originalContext / scaling.lowFrequencyFactor) return frequency / scaling.factor;
  const smooth =
    (scaling.originalContext / wavelength - scaling.lowFrequencyFactor) /
    (scaling.highFrequencyFactor - scaling.lowFrequencyFactor);
  return smooth * frequency + ((1 - smooth) * frequency) / scaling.factor;
}

function normalize(x: Vector, gain: Float32Array, bias: Float32Array | undefined, a: Architecture): Vector {
  const mean = a.norm === 'layer' ? x.reduce((total, v) => total + v, 0) / x.length : 0;
  const variance = x.reduce((total, v) => total + (v - mean) ** 2, 0) / x.length;
  return x.map((v, i) => ((v - mean) / Math.sqrt(variance + a.normEpsilon)) * gain[i]! + (bias?.[i] ?? 0));
}

function normalizeHeads(x: Vector, gain: Float32Array, a: Architecture): Vector {
  const out = new Float64Array(x.length);
  for (let begin = 0; begin < x.length; begin += a.headDim) {
    const head = x.subarray(begin, begin + a.headDim);
    const square = head.reduce((total, v) => total + v * v, 0) / a.headDim;
    for (let i = 0; i < a.headDim; i++) out[begin + i] = (head[i]! / Math.sqrt(square + a.normEpsilon)) * gain[i]!;
  }
  return out;
}

function activate(x: number, { activation }: Architecture): number {
  if (activation === 'silu') return x / (1 + Math.exp(-x));
  if (activation === 'gelu') return (x * (1 + erf(x / Math.SQRT2))) / 2;
  return (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2;
}

/** erf(x) = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!!, a series whose terms all have one sign. */
function erf(x: number): number {
  let term = x;
  let total = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

/** matrix [out, in] · x [in] → [out] */
function multiply(matrix: Float32Array, x: Vector): Vector {
  const out = new Float64Array(matrix.length / x.length);
  for (let row = 0; row < out.length; row++)
    for (let i = 0; i < x.length; i++) out[row]! += matrix[row * x.length + i]! * x[i]!;
  return out;
}

function sum(a: Vector, b: ArrayLike<number>): Float64Array<ArrayBuffer> {
  return Float64Array.from(a, (x, i) => x + b[i]!);
}
