// The decoder of every model family, written once with tfjs operations: a tfjs backend runs it eagerly, or it is traced
// into an ONNX graph. Parameters have the names and shapes of a Llama checkpoint. A row of a batch may hold several
// sequences and responses that share a prompt; the batch's segment ids define which positions attend to which.
import * as tf from '@tensorflow/tfjs-core';
import { type Architecture, REWARD_HEAD } from '../../shared/model/architecture.ts';
import { activate, activateGated } from './activation.ts';
import { attend, createAttentionMask } from './attention.ts';
import { targetLogps } from './head.ts';
import { layerNorm, rmsNorm } from './norm.ts';
import { linear, matrix, type Parameters, vector } from './parameters.ts';
import { applyRotary, createRotaryTables, type RotaryTables } from './rotary.ts';

/**
 * S rows of T tokens, with the position of each token in its sequence, its segment and the segment that it continues.
 */
export type PackedTokens = {
  inputIds: tf.Tensor2D;
  positionIds: tf.Tensor2D;
  segmentIds: tf.Tensor2D;
  parentSegmentIds: tf.Tensor2D;
};

/** Tensors shared by all layers. Gradient functions read them, so create them outside of tf.grads. */
export type BatchConstants = {
  positionIds: tf.Tensor2D;
  /** Null for learned positions. */
  rotary: RotaryTables | null;
  mask: tf.Tensor4D;
};

/** For positions below `length`. */
export function createConstants(
  a: Architecture,
  tokens: PackedTokens,
  length = tokens.inputIds.shape[1],
): BatchConstants {
  return {
    positionIds: tokens.positionIds,
    rotary: a.positions === 'rotary' ? createRotaryTables(a, tokens.positionIds, length) : null,
    mask: createAttentionMask(tokens.segmentIds, tokens.parentSegmentIds),
  };
}

/**
 * Log-probabilities [R] of `targetIds` [R] as the tokens after `logitPositions` [R], which index the flat [S·T] tokens.
 * Only these positions reach the output layer.
 */
export function tokenLogps(
  a: Architecture,
  parameters: Parameters,
  constants: BatchConstants,
  batch: { inputIds: tf.Tensor2D; logitPositions: tf.Tensor1D; targetIds: tf.Tensor1D },
): tf.Tensor1D {
  const hidden = selectHidden(a, parameters, constants, batch);
  return targetLogps(hidden, outputEmbedding(a, parameters), batch.targetIds);
}

/** Rewards [R] at `logitPositions` [R], the last token of each response. */
export function responseRewards(
  a: Architecture,
  parameters: Parameters,
  constants: BatchConstants,
  batch: { inputIds: tf.Tensor2D; logitPositions: tf.Tensor1D },
): tf.Tensor1D {
  const hidden = selectHidden(a, parameters, constants, batch);
  const column = tf.matMul(hidden, matrix(parameters, REWARD_HEAD), false, true); // [R, 1]
  return tf.reshape(column, [hidden.shape[0]]); // [R, 1] → [R]
}

/** The final norm's output at `logitPositions` [R], [R, d]. */
function selectHidden(
  a: Architecture,
  parameters: Parameters,
  constants: BatchConstants,
  batch: { inputIds: tf.Tensor2D; logitPositions: tf.Tensor1D },
): tf.Tensor2D {
  const all = runLayers(a, parameters, constants, batch.inputIds); // [S·T, d]
  const selected: tf.Tensor2D = tf.gather(all, batch.logitPositions); // [R, d]
  return norm(a, parameters, selected, 'model.norm');
}

/** Logits [S·T, V] after every token of ids [S, T]. */
export function logits(
  a: Architecture,
  parameters: Parameters,
  constants: BatchConstants,
  ids: tf.Tensor2D,
): tf.Tensor2D {
  const all = runLayers(a, parameters, constants, ids); // [S·T, d]
  const hidden = norm(a, parameters, all, 'model.norm');
  return tf.matMul(hidden, outputEmbedding(a, parameters), false, true);
}

/** ids [S, T] → the residual stream after the last layer [S·T, d] */
function runLayers(a: Architecture, parameters: Parameters, constants: BatchConstants, ids: tf.Tensor2D): tf.Tensor2D {
  const [S, T] = ids.shape;
  let x = embed(a, parameters, constants, ids);
  for (let layer = 0; layer < a.layers; layer++) {
    const name = (part: string) => `model.layers.${layer}.${part}`;
    const attended = selfAttention(
      a,
      parameters,
      constants,
      norm(a, parameters, x, name('input_layernorm')),
      [S, T],
      name,
    );
    const afterAttention = tf.add(x, attended) as tf.Tensor2D;
    const ffnInput = norm(a, parameters, a.parallelResidual ? x : afterAttention, name('post_attention_layernorm'));
    x = tf.add(afterAttention, feedForward(a, parameters, ffnInput, name));
  }
  return x;
}

/** ids [S, T] → [S·T, d] */
function embed(a: Architecture, parameters: Parameters, constants: BatchConstants, ids: tf.Tensor2D): tf.Tensor2D {
  const lookUp = (table: string, indices: tf.Tensor2D): tf.Tensor2D =>
    tf.gather(matrix(parameters, table), tf.reshape(indices, [indices.size])); // [S, T] → [S·T]
  const tokens = lookUp('model.embed_tokens.weight', ids);
  const scaled: tf.Tensor2D = a.embeddingScale === 1 ? tokens : tf.mul(tokens, a.embeddingScale);
  if (a.positions !== 'learned') return scaled;
  return tf.add(scaled, lookUp('model.embed_positions.weight', constants.positionIds));
}

function norm(a: Architecture, parameters: Parameters, x: tf.Tensor2D, name: string): tf.Tensor2D {
  const gain = vector(parameters, `${name}.weight`);
  if (a.norm === 'rms') return rmsNorm(x, gain, a.normEpsilon);
  return layerNorm(x, gain, vector(parameters, `${name}.bias`), a.normEpsilon);
}

/** x [S·T, d] → [S·T, d] */
function selfAttention(
  a: Architecture,
  parameters: Parameters,
  { rotary, mask }: BatchConstants,
  x: tf.Tensor2D,
  [S, T]: [number, number],
  name: (part: string) => string,
): tf.Tensor2D {
  const group = a.heads / a.kvHeads;
  const split = (kind: string, heads: number): tf.Tensor4D =>
    tf.reshape(linear(parameters, x, name(`self_attn.${kind}_proj`)), [S, T, heads, a.headDim]); // [S·T, heads·D] → [S, T, heads, D]
  const splitAndRotate = (kind: 'q' | 'k', heads: number): tf.Tensor4D => {
    const projected = split(kind, heads);
    const normed = a.queryKeyNorm
      ? normHeads(projected, vector(parameters, name(`self_attn.${kind}_norm.weight`)))
      : projected;
    return rotary ? applyRotary(normed, rotary) : normed;
  };
  const normHeads = (y: tf.Tensor4D, gain: tf.Tensor1D): tf.Tensor4D =>
    tf.reshape(rmsNorm(tf.reshape(y, [y.size / a.headDim, a.headDim]), gain, a.normEpsilon), y.shape); // [S·T·heads, D] and back
  const fold = (y: tf.Tensor4D, length: number): tf.Tensor3D =>
    tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [S * a.kvHeads, length, a.headDim]); // [S, T, heads, D] → [S·KV, length, D]
  const q = fold(splitAndRotate('q', a.heads), group * T);
  const k = fold(splitAndRotate('k', a.kvHeads), T);
  const v = fold(split('v', a.kvHeads), T);
  const attended = tf.reshape(attend(q, k, v, mask), [S, a.heads, T, a.headDim]); // [S·KV, G·T, D] → [S, H, T, D]
  const joined: tf.Tensor2D = tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [S * T, a.heads * a.headDim]); // → [S·T, H·D]
  return linear(parameters, joined, name('self_attn.o_proj'));
}

/** x [N, d] → [N, d] */
function feedForward(
  a: Architecture,
  parameters: Parameters,
  x: tf.Tensor2D,
  name: (part: string) => string,
): tf.Tensor2D {
  const project = (input: tf.Tensor2D, kind: string) => linear(parameters, input, name(`mlp.${kind}_proj`));
  const inner = a.gated
    ? activateGated(a.activation, project(x, 'gate'), project(x, 'up'))
    : activate(a.activation, project(x, 'up'));
  return project(inner, 'down'); // [N, f] → [N, d]
}

function outputEmbedding(a: Architecture, parameters: Parameters): tf.Tensor2D {
  return matrix(parameters, a.tied ? 'model.embed_tokens.weight' : 'lm_head.weight');
}
