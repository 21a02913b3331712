// The decoder of every family, written once against the tfjs API: run eagerly by any tfjs backend or traced into an ONNX
// graph. Parameters have the names and shapes of a Llama's checkpoint. A row of a batch may hold several sequences, and
// responses that share a prompt: who sees whom comes with the batch.
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture } from '../../shared/model/architecture.ts';
import { activate, activateGated } from './activation.ts';
import { attend, visibility } from './attention.ts';
import { targetLogps } from './head.ts';
import { layerNorm, rmsNorm } from './norm.ts';
import { linear, matrix, type Parameters, vector } from './parameters.ts';
import { makeTables, type RotaryTables, rotate } from './rotary.ts';

/** S rows of T tokens, each with its position in its own sequence and the segment that it belongs to and continues. */
export type Rows = { ids: tf.Tensor2D; positionIds: tf.Tensor2D; segments: tf.Tensor2D; parents: tf.Tensor2D };

/** What is the same in every layer. Gradient functions read it, so make it outside of tf.grads. */
export type Constants = {
  positionIds: tf.Tensor2D;
  /** None where positions are learned. */
  rotary: RotaryTables | null;
  mask: tf.Tensor4D;
};

/** For positions below `length`. */
export function makeConstants(a: Architecture, rows: Rows, length = rows.ids.shape[1]): Constants {
  return {
    positionIds: rows.positionIds,
    rotary: a.positions === 'rotary' ? makeTables(a, rows.positionIds, length) : null,
    mask: visibility(rows.segments, rows.parents),
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
  const hidden = norm(a, parameters, wanted, 'model.norm');
  return targetLogps(hidden, outputTable(a, parameters), batch.targets);
}

/** Logits [S·T, V] after every token of ids [S, T]. */
export function logits(a: Architecture, parameters: Parameters, constants: Constants, ids: tf.Tensor2D): tf.Tensor2D {
  const all = residuals(a, parameters, constants, ids);
  const hidden = norm(a, parameters, all, 'model.norm');
  return tf.matMul(hidden, outputTable(a, parameters), false, true);
}

/** ids [S, T] → the residual stream after the last layer [S·T, d] */
function residuals(a: Architecture, parameters: Parameters, constants: Constants, ids: tf.Tensor2D): tf.Tensor2D {
  const [S, T] = ids.shape;
  let x = embed(a, parameters, constants, ids);
  for (let layer = 0; layer < a.layers; layer++) {
    const name = (part: string) => `model.layers.${layer}.${part}`;
    const mixed = mix(a, parameters, constants, norm(a, parameters, x, name('input_layernorm')), [S, T], name);
    const between = tf.add(x, mixed) as tf.Tensor2D;
    const fed = norm(a, parameters, a.parallelResidual ? x : between, name('post_attention_layernorm'));
    x = tf.add(between, feedForward(a, parameters, fed, name));
  }
  return x;
}

/** ids [S, T] → [S·T, d] */
function embed(a: Architecture, parameters: Parameters, constants: Constants, ids: tf.Tensor2D): tf.Tensor2D {
  const look = (table: string, at: tf.Tensor2D): tf.Tensor2D =>
    tf.gather(matrix(parameters, table), tf.reshape(at, [at.size]));
  const tokens = look('model.embed_tokens.weight', ids);
  const scaled: tf.Tensor2D = a.embeddingScale === 1 ? tokens : tf.mul(tokens, a.embeddingScale);
  if (a.positions !== 'learned') return scaled;
  return tf.add(scaled, look('model.embed_positions.weight', constants.positionIds));
}

function norm(a: Architecture, parameters: Parameters, x: tf.Tensor2D, name: string): tf.Tensor2D {
  const gain = vector(parameters, `${name}.weight`);
  if (a.norm === 'rms') return rmsNorm(x, gain, a.normEpsilon);
  return layerNorm(x, gain, vector(parameters, `${name}.bias`), a.normEpsilon);
}

/** Attention: x [S·T, d] → [S·T, d] */
function mix(
  a: Architecture,
  parameters: Parameters,
  { rotary, mask }: Constants,
  x: tf.Tensor2D,
  [S, T]: [number, number],
  name: (part: string) => string,
): tf.Tensor2D {
  const group = a.heads / a.kvHeads;
  const split = (kind: string, heads: number): tf.Tensor4D =>
    tf.reshape(linear(parameters, x, name(`self_attn.${kind}_proj`)), [S, T, heads, a.headDim]); // [S·T, heads·D] → [S, T, heads, D]
  const place = (kind: 'q' | 'k', heads: number): tf.Tensor4D => {
    const all = split(kind, heads);
    const normed = a.queryKeyNorm ? normHeads(all, vector(parameters, name(`self_attn.${kind}_norm.weight`))) : all;
    return rotary ? rotate(normed, rotary) : normed;
  };
  const normHeads = (y: tf.Tensor4D, gain: tf.Tensor1D): tf.Tensor4D =>
    tf.reshape(rmsNorm(tf.reshape(y, [y.size / a.headDim, a.headDim]), gain, a.normEpsilon), y.shape); // [S·T·heads, D] and back
  const fold = (y: tf.Tensor4D, length: number): tf.Tensor3D =>
    tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [S * a.kvHeads, length, a.headDim]); // [S, T, heads, D] → [S·KV, ·, D]
  const q = fold(place('q', a.heads), group * T);
  const k = fold(place('k', a.kvHeads), T);
  const v = fold(split('v', a.kvHeads), T);
  const mixed = tf.reshape(attend(q, k, v, mask), [S, a.heads, T, a.headDim]); // [S·KV, G·T, D] → [S, H, T, D]
  const joined: tf.Tensor2D = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [S * T, a.heads * a.headDim]); // → [S·T, H·D]
  return linear(parameters, joined, name('self_attn.o_proj'));
}

/** x [N, d] → [N, d] */
function feedForward(
  a: Architecture,
  parameters: Parameters,
  x: tf.Tensor2D,
  name: (part: string) => string,
): tf.Tensor2D {
  const multiply = (input: tf.Tensor2D, kind: string) => linear(parameters, input, name(`mlp.${kind}_proj`));
  const inner = a.gated
    ? activateGated(a.activation, multiply(x, 'gate'), multiply(x, 'up'))
    : activate(a.activation, multiply(x, 'up'));
  return multiply(inner, 'down');
}

function outputTable(a: Architecture, parameters: Parameters): tf.Tensor2D {
  return matrix(parameters, a.tied ? 'model.embed_tokens.weight' : 'lm_head.weight');
}
