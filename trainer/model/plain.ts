// The same decoder in plain double-precision JavaScript, one token at a time and nothing clever, for tests to compare
// with: it shares no line with the one that trains.
import type { Architecture } from '../../shared/policy/architecture.ts';
import type { Weights } from '../../shared/policy/safetensors.ts';

type Vector = Float64Array;

/** Logits after each of the tokens, [T][V]. */
export function plainLogits(a: Architecture, weights: Weights, ids: number[]): Vector[] {
  const get = (name: string) => weights.get(name)!.data;
  const keys: Vector[][] = Array.from({ length: a.layers }, () => []);
  const values: Vector[][] = Array.from({ length: a.layers }, () => []);
  return ids.map((id, t) => {
    let x = Float64Array.from(get('model.embed_tokens.weight').subarray(id * a.hiddenSize, (id + 1) * a.hiddenSize));
    for (let layer = 0; layer < a.layers; layer++) {
      const part = (name: string) => get(`model.layers.${layer}.${name}.weight`);
      const attended = normalize(x, part('input_layernorm'), a.normEpsilon);
      const q = turn(multiply(part('self_attn.q_proj'), attended), t, a);
      keys[layer]!.push(turn(multiply(part('self_attn.k_proj'), attended), t, a));
      values[layer]!.push(multiply(part('self_attn.v_proj'), attended));
      x = sum(x, multiply(part('self_attn.o_proj'), attend(q, keys[layer]!, values[layer]!, a)));
      const fed = normalize(x, part('post_attention_layernorm'), a.normEpsilon);
      const gate = multiply(part('mlp.gate_proj'), fed);
      const up = multiply(part('mlp.up_proj'), fed);
      const inner = gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
      x = sum(x, multiply(part('mlp.down_proj'), inner));
    }
    const last = normalize(x, get('model.norm.weight'), a.normEpsilon);
    return multiply(get(a.tied ? 'model.embed_tokens.weight' : 'lm_head.weight'), last);
  });
}

/** The log-probability of each response token. */
export function plainLogps(a: Architecture, weights: Weights, promptIds: number[], responseIds: number[]): number[] {
  const logits = plainLogits(a, weights, [...promptIds, ...responseIds]);
  return responseIds.map((id, j) => {
    const row = logits[promptIds.length - 1 + j]!;
    return row[id]! - Math.log(row.reduce((total, z) => total + Math.exp(z), 0));
  });
}

function attend(q: Vector, keys: Vector[], values: Vector[], a: Architecture): Vector {
  const out = new Float64Array(a.heads * a.headDim);
  for (let head = 0; head < a.heads; head++) {
    const own = head * a.headDim;
    const shared = Math.floor(head / (a.heads / a.kvHeads)) * a.headDim;
    const shares = keys.map((key) => {
      let score = 0;
      for (let i = 0; i < a.headDim; i++) score += q[own + i]! * key[shared + i]!;
      return Math.exp(score / Math.sqrt(a.headDim));
    });
    const total = shares.reduce((sum, share) => sum + share, 0);
    for (const [s, value] of values.entries())
      for (let i = 0; i < a.headDim; i++) out[own + i]! += (shares[s]! / total) * value[shared + i]!;
  }
  return out;
}

function turn(x: Vector, position: number, a: Architecture): Vector {
  const half = a.headDim / 2;
  return x.map((own, at) => {
    const i = at % a.headDim;
    const angle = position * a.ropeTheta ** (-(i % half) / half);
    const other = i < half ? -x[at + half]! : x[at - half]!;
    return own * Math.cos(angle) + other * Math.sin(angle);
  });
}

function normalize(x: Vector, gain: Float32Array, epsilon: number): Vector {
  const mean = x.reduce((total, v) => total + v * v, 0) / x.length;
  return x.map((v, i) => (v / Math.sqrt(mean + epsilon)) * gain[i]!);
}

/** matrix [out, in] · x [in] → [out] */
function multiply(matrix: Float32Array, x: Vector): Vector {
  const out = new Float64Array(matrix.length / x.length);
  for (let row = 0; row < out.length; row++)
    for (let i = 0; i < x.length; i++) out[row]! += matrix[row * x.length + i]! * x[i]!;
  return out;
}

function sum(a: Vector, b: Vector): Float64Array<ArrayBuffer> {
  return Float64Array.from(a, (x, i) => x + b[i]!);
}
