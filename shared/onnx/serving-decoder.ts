// The decoder of the graphs of Attune's engine: serve.onnx of a policy, with a KV cache, and reward.onnx of a reward,
// without one. ONNX Runtime's own operators, and the products of a precision.

import { type Architecture, rotaryDims } from '../model/architecture.ts';
import { hadamardBlock, ROTATED } from '../model/rotated-weights.ts';
import { openAttention } from './attention.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { ValueInfo } from './model-proto.ts';
import type { Precision } from './precision/precision.ts';

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
  const epsilon = { float: a.normEpsilon };
  const attend = openAttention(g, a, hasCache ? precision.kvFormat : null);

  /** Applies the rotary embedding to x [B, heads, S, hd]. */
  const rotate = (x: string, heads: number) => {
    if (a.positions !== 'rotary') return x;
    const dims = rotaryDims(a);
    const part: Record<string, number> = dims < a.headDim ? { rotary_embedding_dim: dims, num_heads: heads } : {};
    return g.addContrib('RotaryEmbedding', [x, 'position_ids', g.weight('rotary.cos'), g.weight('rotary.sin')], {
      attributes: { interleaved: 0, ...part },
    });
  };
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
    const { mixed, keys } = attend(layer, rotate(normHeads(q, 'q_norm'), a.heads), key, v);
    newKeysAndValues.push(keys, v);
    const [attentionOutput] = linear(mixed, [weightName('o')]) as [string];
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
