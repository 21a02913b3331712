// Factors that balance what a gated feed-forward quantizes: down((h / s) · diag(s)) is the same for any s, which is folded
// into `up`, and neither the inputs of `down` nor its weights should have columns much larger than others (SmoothQuant,
// Xiao et al., arXiv 2211.10438). Without data: a norm's output is taken as standard normal, so the sizes of h follow from
// the rows of `gate` and `up`.
import type { Architecture } from './architecture.ts';
import { type LazyWeights, readTensor } from './tensor.ts';

/** How much of the imbalance is moved from the activations to the weights. */
const EXPONENT = 0.5;

/** s [I] of the layer whose tensors' names start with `at`; its geometric mean is 1. */
export async function balanceFeedForward(a: Architecture, weights: LazyWeights, at: string): Promise<Float32Array> {
  const read = async (name: string) => (await readTensor(weights.get(`${at}.${name}.weight`)!)).data;
  const gain = await read('post_attention_layernorm');
  const gates = rowNorms(await read('mlp.gate_proj'), gain);
  const ups = rowNorms(await read('mlp.up_proj'), gain);
  const downs = columnNorms(await read('mlp.down_proj'), a.intermediateSize);
  const logs = downs.map((down, i) => EXPONENT * Math.log((ups[i]! * rmsActivation(gates[i]!)) / down));
  const known = logs.filter(Number.isFinite);
  const mean = known.reduce((sum, log) => sum + log, 0) / known.length;
  // A row or a column of zeros has no size to balance.
  return logs.map((log) => (Number.isFinite(log) ? Math.exp(log - mean) : 1));
}

/** ‖W diag(gain)‖ of each row of W [out, in]. */
function rowNorms(data: Float32Array, gain: Float32Array): Float32Array {
  const norms = new Float32Array(data.length / gain.length);
  for (let row = 0; row < norms.length; row++) {
    let sum = 0;
    for (let i = 0; i < gain.length; i++) sum += (data[row * gain.length + i]! * gain[i]!) ** 2;
    norms[row] = Math.sqrt(sum);
  }
  return norms;
}

/** ‖W‖ of each column of W [out, in]. */
function columnNorms(data: Float32Array, into: number): Float32Array {
  const norms = new Float32Array(into);
  for (let i = 0; i < data.length; i++) norms[i % into]! += data[i]! ** 2;
  return norms.map(Math.sqrt);
}

/** The root mean square of silu(σ z) for a standard normal z; GELU's is close to it. */
function rmsActivation(sigma: number): number {
  let sum = 0;
  let total = 0;
  for (let z = -4; z <= 4; z += 0.25) {
    const x = sigma * z;
    const weight = Math.exp((-z * z) / 2);
    sum += weight * (x / (1 + Math.exp(-x))) ** 2;
    total += weight;
  }
  return Math.sqrt(sum / total);
}
