// Looks up the weights of a decoder. Everything that multiplies by a matrix of a layer goes through `linear`, and so
// does an adapter of that matrix, where there is one.
import * as tf from '@tensorflow/tfjs-core';

/** By the names and with the shapes of Hugging Face checkpoints. */
export type Parameters = ReadonlyMap<string, tf.Tensor>;

/** The name of what every adapter's product is multiplied by, []. */
export const SCALE = 'lora.scale';

/** A [rank, in] and B [out, rank] beside the matrix W [out, in]. */
export function adapterNames(name: string): { down: string; up: string } {
  return { down: `${name}.lora_a`, up: `${name}.lora_b` };
}

export function isAdapter(name: string): boolean {
  return /\.lora_[ab]$/.test(name);
}

/** x [N, in] → x Wᵀ + b [N, out], where W [out, in] is `${name}.weight` and b [out], if there is one, `${name}.bias` */
export function linear(parameters: Parameters, x: tf.Tensor2D, name: string): tf.Tensor2D {
  const product: tf.Tensor2D = tf.matMul(x, matrix(parameters, `${name}.weight`), false, true);
  const bias = parameters.get(`${name}.bias`);
  const whole: tf.Tensor2D = bias ? tf.add(product, bias) : product;
  const { down, up } = adapterNames(name);
  if (!parameters.has(down)) return whole;
  const narrow = tf.matMul(x, matrix(parameters, down), false, true); // [N, rank]
  const scaled: tf.Tensor2D = tf.mul(narrow, find(parameters, SCALE));
  return tf.add(whole, tf.matMul(scaled, matrix(parameters, up), false, true));
}

export function vector(parameters: Parameters, name: string): tf.Tensor1D {
  return find(parameters, name) as tf.Tensor1D;
}

export function matrix(parameters: Parameters, name: string): tf.Tensor2D {
  return find(parameters, name) as tf.Tensor2D;
}

function find(parameters: Parameters, name: string): tf.Tensor {
  const tensor = parameters.get(name);
  if (!tensor) throw new Error(`internal: decoder: no parameter ${name}`);
  return tensor;
}
