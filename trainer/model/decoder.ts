// The Llama decoder, written once against the tfjs API: run eagerly by any tfjs backend or traced into an ONNX graph.
// Parameters have the names and shapes of Hugging Face checkpoints. Sequences are padded on the right, where causal
// attention never looks, so there is no padding mask.
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture } from '../../shared/policy/architecture.ts';
import { attend, causalMask } from './attention.ts';
import { targetLogps } from './head.ts';
import { rmsNorm } from './norm.ts';
import { type RotaryTables, rotaryTables, rotate } from './rotary.ts';
import { swiglu } from './swiglu.ts';

export type Parameters = ReadonlyMap<string, tf.Tensor>;

/** Constants of one batch shape. Gradient functions read them, so make them outside of tf.grads. */
export type Constants = { rotary: RotaryTables; mask: tf.Tensor2D; order: tf.Tensor1D };

/** For sequences of T tokens and R response positions in the batch. */
export function makeConstants(a: Architecture, T: number, R: number): Constants {
  return {
    rotary: rotaryTables(T, a.headDim, a.ropeTheta),
    mask: causalMask(T),
    order: tf.range(0, R, 1, 'int32'),
  };
}

/**
 * Log-probabilities [R] of `targets` [R] as the tokens after `positions` [R], which index the batch ids [S, T] as one
 * flat list. Only these positions reach the output layer.
 */
export function tokenLogps(
  a: Architecture,
  parameters: Parameters,
  constants: Constants,
  batch: { ids: tf.Tensor2D; positions: tf.Tensor1D; targets: tf.Tensor1D },
): tf.Tensor1D {
  const all = residuals(a, parameters, constants, batch.ids); // [S·T, d]
  const wanted: tf.Tensor2D = tf.gather(all, batch.positions); // [R, d]
  const hidden = rmsNorm(wanted, weight1d(parameters, 'model.norm.weight'), a.normEpsilon);
  return targetLogps(hidden, outputTable(a, parameters), batch.targets, constants.order);
}

/** Logits [S·T, V] after every token of ids [S, T]. */
export function logits(a: Architecture, parameters: Parameters, constants: Constants, ids: tf.Tensor2D): tf.Tensor2D {
  const all = residuals(a, parameters, constants, ids);
  const hidden = rmsNorm(all, weight1d(parameters, 'model.norm.weight'), a.normEpsilon);
  return tf.matMul(hidden, outputTable(a, parameters), false, true);
}

/** ids [S, T] → the residual stream after the last layer [S·T, d] */
function residuals(a: Architecture, parameters: Parameters, constants: Constants, ids: tf.Tensor2D): tf.Tensor2D {
  const [S, T] = ids.shape;
  const group = a.heads / a.kvHeads;
  let x: tf.Tensor2D = tf.gather(weight2d(parameters, 'model.embed_tokens.weight'), tf.reshape(ids, [S * T]));
  for (let layer = 0; layer < a.layers; layer++) {
    const name = (part: string) => `model.layers.${layer}.${part}.weight`;
    const linear = (input: tf.Tensor2D, part: string): tf.Tensor2D =>
      tf.matMul(input, weight2d(parameters, name(part)), false, true);
    const norm = (input: tf.Tensor2D, part: string) => rmsNorm(input, weight1d(parameters, name(part)), a.normEpsilon);

    const attended = norm(x, 'input_layernorm');
    const split = (part: string, heads: number): tf.Tensor4D =>
      tf.reshape(linear(attended, part), [S, T, heads, a.headDim]); // [S·T, heads·D] → [S, T, heads, D]
    const fold = (y: tf.Tensor4D, length: number): tf.Tensor3D =>
      tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [S * a.kvHeads, length, a.headDim]); // [S, T, heads, D] → [S·KV, ·, D]
    const q = fold(rotate(split('self_attn.q_proj', a.heads), constants.rotary), group * T);
    const k = fold(rotate(split('self_attn.k_proj', a.kvHeads), constants.rotary), T);
    const v = fold(split('self_attn.v_proj', a.kvHeads), T);
    const mixed = tf.reshape(attend(q, k, v, constants.mask), [S, a.heads, T, a.headDim]); // [S·KV, G·T, D] → [S, H, T, D]
    const joined: tf.Tensor2D = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [S * T, a.heads * a.headDim]); // → [S·T, H·D]
    x = tf.add(x, linear(joined, 'self_attn.o_proj'));

    const fed = norm(x, 'post_attention_layernorm');
    x = tf.add(x, linear(swiglu(linear(fed, 'mlp.gate_proj'), linear(fed, 'mlp.up_proj')), 'mlp.down_proj'));
  }
  return x;
}

function outputTable(a: Architecture, parameters: Parameters): tf.Tensor2D {
  return weight2d(parameters, a.tied ? 'model.embed_tokens.weight' : 'lm_head.weight');
}

function weight1d(parameters: Parameters, name: string): tf.Tensor1D {
  return weight(parameters, name) as tf.Tensor1D;
}

function weight2d(parameters: Parameters, name: string): tf.Tensor2D {
  return weight(parameters, name) as tf.Tensor2D;
}

function weight(parameters: Parameters, name: string): tf.Tensor {
  const tensor = parameters.get(name);
  if (!tensor) throw new Error(`internal: decoder: no parameter ${name}`);
  return tensor;
}
