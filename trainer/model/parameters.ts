// Looks up the parameters of a decoder by name. Every product with a layer's matrix goes through `linear`, which also
// applies the LoRA adapter of that matrix, if there is one.
import * as tf from '@tensorflow/tfjs-core';
import { REWARD_HEAD } from '../../shared/model/architecture.ts';

/** With the names and shapes of Hugging Face checkpoints. */
export type Parameters = ReadonlyMap<string, tf.Tensor>;

/** The name of the scale α/r of all adapters, []. */
export const LORA_SCALE = 'lora.scale';

/** The names of A [rank, in] and B [out, rank], the adapter of the matrix W [out, in]. */
export function adapterNames(name: string): { loraA: string; loraB: string } {
  return { loraA: `${name}.lora_a`, loraB: `${name}.lora_b` };
}

/** Whether a parameter is trained where the weights are frozen: an adapter, or a reward's head, which is new. */
export function isTrainedWithAdapters(name: string): boolean {
  return /\.lora_[ab]$/.test(name) || name === REWARD_HEAD;
}

/**
 * x [N, in] → x Wᵀ + b + scale · (x Aᵀ) Bᵀ [N, out], where W [out, in] is `${name}.weight` and b [out] is
 * `${name}.bias`; without b or an adapter, those terms are left out.
 */
export function linear(parameters: Parameters, x: tf.Tensor2D, name: string): tf.Tensor2D {
  const product: tf.Tensor2D = tf.matMul(x, matrix(parameters, `${name}.weight`), false, true);
  const bias = parameters.get(`${name}.bias`);
  const output: tf.Tensor2D = bias ? tf.add(product, bias) : product;
  const { loraA, loraB } = adapterNames(name);
  if (!parameters.has(loraA)) return output;
  const narrow = tf.matMul(x, matrix(parameters, loraA), false, true); // [N, rank]
  const scaled: tf.Tensor2D = tf.mul(narrow, getParameter(parameters, LORA_SCALE));
  return tf.add(output, tf.matMul(scaled, matrix(parameters, loraB), false, true));
}

export function vector(parameters: Parameters, name: string): tf.Tensor1D {
  return getParameter(parameters, name) as tf.Tensor1D;
}

export function matrix(parameters: Parameters, name: string): tf.Tensor2D {
  return getParameter(parameters, name) as tf.Tensor2D;
}

function getParameter(parameters: Parameters, name: string): tf.Tensor {
  const tensor = parameters.get(name);
  if (!tensor) throw new Error(`internal: decoder: no parameter ${name}`);
  return tensor;
}
