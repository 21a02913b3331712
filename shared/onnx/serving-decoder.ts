// The decoder of the graphs of Attune's engine: serve.onnx of a policy, with a KV cache, and reward.onnx of a reward,
// without one. ONNX Runtime's own operators, and the products of a precision.

import { type Architecture, rotaryDims } from '../model/architecture.ts';
import { hadamardBlock, ROTATED } from '../model/rotated-weights.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { ValueInfo } from './model-proto.ts';
import type { Precision } from './precision/precision.ts';

/** Finite, so that a fully masked row gives a uniform softmax instead of NaN. */
const MASKED = -1e30;

/** TensorProto.DataType.INT32 */
const INT32_TYPE = 6;

export const DECODER_INPUTS: ValueInfo[] = [
  { name: 'input_ids', type: 'int64', dims: ['batch', 'step'] },
  { name: 'position_ids', type: 'int64', dims: ['batch', 'step'] },
  { name: 'last_index', type: 'int64', dims: ['batch', 'outputs'] },
];

export type Decoder = {
  /** The final norm's output at last_index, [B · K, d]. */
  last: string;
  /** Per layer the keys, then the values, [B, KV, S, hd] each. */
  newKeysAndValues: string[];
};

/**
 * Inputs: input_ids, position_ids [B, S], last_index [B, K]; with a cache past_length [B], past_key.N, past_value.N
 * [B, KV, T, hd], of which only the first past_length of the T past positions are attended to.
 */
export function addDecoder(
  g: GraphBuilder,
  a: Architecture,
  precision: Precision,
  { hasCache }: { hasCache: boolean },
): Decoder {
  const queries = a.heads * a.headDim;
  const group = a.heads / a.kvHeads;
  const epsilon = { float: a.normEpsilon };
  const scale = { float: a.headDim ** -0.5 };
  /** GroupQueryAttention takes heads of a multiple of 8, as nearly all models have. */
  const padding = Math.ceil(a.headDim / 8) * 8 - a.headDim;

  const batch = g.dim('input_ids', 0);
  const newTokens = g.dim('input_ids', 1);
  const toVector = (...dims: string[]) =>
    g.add(
      'Concat',
      dims.map((dim) => g.add('Unsqueeze', [dim, g.intVector([0])])),
      { attributes: { axis: 0 } },
    );
  const lengths = findLengths();
  const cache = hasCache ? addCache() : null;

  /** What GroupQueryAttention asks for, int32: of each row the index of its last token [B], and the tokens of the longest. */
  function findLengths(): { lastPositions: string; longest: string } {
    const toInt32 = (x: string) => g.add('Cast', [x], { attributes: { to: INT32_TYPE } });
    const lastToken = g.add('Gather', ['last_index', g.intScalar(-1)], { attributes: { axis: 1 } }); // [B, K] → [B]
    if (!hasCache) return { lastPositions: toInt32(lastToken), longest: toInt32(newTokens) };
    const longestPast = g.add('ReduceMax', ['past_length'], { attributes: { keepdims: 0 } });
    return {
      lastPositions: toInt32(g.add('Add', ['past_length', lastToken])),
      longest: toInt32(g.add('Add', [longestPast, newTokens])),
    };
  }

  /** For decoding: which keys are visible, and how many are new and past. The new token's key comes first. */
  function addCache(): { isDecoding: string; bias: string; sizes: string } {
    const past = g.dim('past_key.0', 2);
    const keys = g.add('Add', [past, g.intScalar(1)]);
    const range = g.add('Range', [g.intScalar(0), keys, g.intScalar(1)]);
    // [1, 1, 1, 1 + T] ≤ [B, 1, 1, 1] → [B, 1, 1, 1 + T]
    const pastLength = g.add('Unsqueeze', ['past_length', g.intVector([1, 2, 3])]);
    const isVisible = g.add('LessOrEqual', [g.add('Unsqueeze', [range, g.intVector([0, 1, 2])]), pastLength]);
    const bias = g.add('Where', [isVisible, g.floatScalar(0), g.floatScalar(MASKED)]);
    return {
      isDecoding: g.add('Equal', [newTokens, g.intScalar(1)]),
      bias: g.add('Expand', [bias, toVector(batch, g.intScalar(1), g.intScalar(group), keys)]),
      sizes: toVector(g.intScalar(1), past),
    };
  }

  /** Applies the rotary embedding to x [B, heads, S, hd]. */
  const rotate = (x: string, heads: number) => {
    if (a.positions !== 'rotary') return x;
    const dims = rotaryDims(a);
    const part: Record<string, number> = dims < a.headDim ? { rotary_embedding_dim: dims, num_heads: heads } : {};
    return g.addContrib('RotaryEmbedding', [x, 'position_ids', g.weight('rotary.cos'), g.weight('rotary.sin')], {
      attributes: { interleaved: 0, ...part },
    });
  };
  /** q [B, H, S, hd], k and v [B, KV, S, hd] → [N, H · hd] */
  function attend(layer: number, q: string, k: string, v: string): string {
    if (!cache) return attendChunk(layer, q, k, v);
    const { isDecoding } = cache;
    return g.choose(
      isDecoding,
      () => attendStep(layer, q, k, v, cache),
      () => attendChunk(layer, q, k, v),
      ['tokens', queries],
    );
  }

  /**
   * Several new tokens of a row. A sink of −1e30 adds 0 to the sums, and selects the kernel that computes all queries of a
   * head at once: the other one computes them in blocks, and a last block of one query, which padding would join to others,
   * is summed in another order.
   */
  function attendChunk(layer: number, q: string, k: string, v: string): string {
    // [B, heads, S, hd] → [B, S, heads, hd] → [B, S, heads · hd]
    const merge = (x: string, heads: number) => {
      const padded = g.padLast(x, padding, 4);
      return g.reshape(g.transpose(padded, [0, 2, 1, 3]), [0, 0, heads * (a.headDim + padding)]);
    };
    const past = hasCache ? ['key', 'value'].map((kind) => g.padLast(`past_${kind}.${layer}`, padding, 4)) : ['', ''];
    const sink = g.floatVector(MASKED, a.heads);
    const [mixed] = g.addContribMultiOutput(
      'GroupQueryAttention',
      [
        ...[merge(q, a.heads), merge(k, a.kvHeads), merge(v, a.kvHeads), ...past],
        ...[lengths.lastPositions, lengths.longest, '', '', '', '', sink],
      ],
      3,
      { attributes: { num_heads: a.heads, kv_num_heads: a.kvHeads, scale } },
    ) as [string];
    if (padding === 0) return g.reshape(mixed, [-1, queries]);
    const heads = g.reshape(mixed, [-1, a.heads, a.headDim + padding]);
    return g.reshape(g.split(heads, [a.headDim, padding], -1)[0]!, [-1, queries]);
  }

  /** One new token of each row. GroupQueryAttention takes four times as long, and copies the cache. */
  function attendStep(
    layer: number,
    q: string,
    k: string,
    v: string,
    { bias, sizes }: NonNullable<typeof cache>,
  ): string {
    const score = (x: string, y: string) =>
      g.addContrib('FusedMatMul', [x, y], { attributes: { transB: 1, alpha: scale } });
    // The heads of a group are adjacent: [B, KV, group, hd], so one product serves all heads that share a key.
    const query = g.reshape(q, [0, a.kvHeads, group, a.headDim]);
    const scores = g.add('Concat', [score(query, k), score(query, `past_key.${layer}`)], { attributes: { axis: -1 } });
    const probabilities = g.add('Softmax', [g.add('Add', [scores, bias])], { attributes: { axis: -1 } });
    const [ofNew, ofPast] = g.addMultiOutput('Split', [probabilities, sizes], 2, { attributes: { axis: -1 } });
    const mixed = g.add('Add', [g.add('MatMul', [ofNew!, v]), g.add('MatMul', [ofPast!, `past_value.${layer}`])]);
    return g.reshape(mixed, [-1, queries]);
  }

  // Outside attention [B, S] is flattened to one axis of N tokens.
  const tokenShape = (...rest: number[]) =>
    g.memoize(`token shape ${rest}`, () =>
      g.add('Concat', [g.add('Shape', ['input_ids']), g.intVector(rest)], { attributes: { axis: 0 } }),
    );
  const allHeads = a.heads + 2 * a.kvHeads;
  let residual = precision.embed(g, g.reshape('input_ids', [-1]), 'embed');
  if (a.embeddingScale !== 1) residual = g.add('Mul', [residual, g.floatScalar(a.embeddingScale)]);
  if (a.positions === 'learned') {
    const positions = g.add('Gather', [g.weight('positions'), g.reshape('position_ids', [-1])]);
    residual = g.add('Add', [residual, positions]);
  }
  residual = g.multiply(residual, ROTATED.center);
  /** Adds a branch to the residual stream. ONNX Runtime's fused operator for this and the next norm is slower. */
  const addResidual = (branch: string) => {
    residual = g.add('Add', [residual, branch]);
  };
  const normAttributes = { attributes: { axis: -1, epsilon, stash_type: 1 } };
  const rmsNorm = (x: string, weight: string) =>
    g.add('SimplifiedLayerNormalization', [x, g.weight(weight)], normAttributes);
  const norm = (weight: string) => {
    if (precision.isRotated) return rmsNorm(residual, ROTATED.ones);
    if (a.norm === 'rms') return rmsNorm(residual, weight);
    return g.add('LayerNormalization', [residual, g.weight(weight), g.weight(`${weight}.bias`)], normAttributes);
  };
  /** x [N, in] → [N, out] for each named weight, plus its bias if it has one. */
  const linear = (x: string, names: string[]) =>
    precision.linear(g, x, names).map((product, i) => g.addBias(product, `${names[i]}.bias`));
  const activate = (x: string) => {
    // QuickGelu with alpha 1 is SiLU, as one operator.
    if (a.activation === 'silu') return g.addContrib('QuickGelu', [x], { attributes: { alpha: { float: 1 } } });
    return g.addContrib(a.activation === 'gelu' ? 'Gelu' : 'FastGelu', [x]);
  };

  /** x H for each block of x [N, I]. */
  const spread = (x: string) => {
    if (!g.has(ROTATED.hadamard)) return x;
    const blocks = g.reshape(x, [-1, hadamardBlock(a)]); // [N · I / block, block]
    return g.reshape(g.multiply(blocks, ROTATED.hadamard), [-1, a.intermediateSize]);
  };

  const newKeysAndValues: string[] = [];
  for (let layer = 0; layer < a.layers; layer++) {
    const weightName = (part: string) => `layers.${layer}.${part}`;
    const normed = norm(weightName('attention_norm'));
    const [qkv] = linear(normed, [weightName('qkv')]) as [string];
    // [N, (H + 2 KV) · hd] → [B, S, H + 2 KV, hd] → [B, H + 2 KV, S, hd]
    const heads = g.transpose(g.add('Reshape', [qkv, tokenShape(allHeads, a.headDim)]), [0, 2, 1, 3]);
    const [q, k, v] = g.split(heads, [a.heads, a.kvHeads, a.kvHeads], 1) as [string, string, string];
    const normHeads = (x: string, weight: string) => (a.queryKeyNorm ? rmsNorm(x, weightName(weight)) : x);
    const key = rotate(normHeads(k, 'k_norm'), a.kvHeads);
    newKeysAndValues.push(key, v);
    const attended = attend(layer, rotate(normHeads(q, 'q_norm'), a.heads), key, v);
    const [attentionOutput] = linear(attended, [weightName('o')]) as [string];
    if (!a.parallelResidual) addResidual(attentionOutput);

    const hidden = norm(weightName('mlp_norm'));
    const [inner, up] = linear(hidden, a.gated ? [weightName('gate'), weightName('up')] : [weightName('up')]) as [
      string,
      string,
    ];
    const activated = activate(inner);
    const inside = a.gated ? g.add('Mul', [activated, up]) : activated;
    const [mlpOutput] = linear(spread(inside), [weightName('down')]) as [string];
    if (a.parallelResidual) addResidual(attentionOutput);
    addResidual(mlpOutput);
  }

  // [B, S, d] at [B, K, 1] → [B, K, d] → [B · K, d]
  const hidden = g.add('Reshape', [norm('norm'), tokenShape(a.hiddenSize)]);
  const indices = g.add('Unsqueeze', ['last_index', g.intVector([-1])]);
  const last = g.reshape(g.add('GatherND', [hidden, indices], { attributes: { batch_dims: 1 } }), [-1, a.hiddenSize]);
  return { last: g.addBias(g.multiply(last, ROTATED.gain), ROTATED.bias), newKeysAndValues };
}
