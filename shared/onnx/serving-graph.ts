// The graph that Attune's own engine runs: prefill, chunks of a prompt and decoding in one. The cache is an input only,
// because the Node binding copies whatever a run returns: scores against the past and scores among the new tokens meet
// in one softmax, and the new keys and values come back as one small output that the engine appends.
// The new tokens' scores come first. Padding is then at the end of every reduction, where it adds exact zeros, so that
// a row's logits do not depend on how long its neighbours made the cache.

import { type Architecture, rotaryDims } from '../model/architecture.ts';
import type { ExternalDataFile } from './external-data.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { OnnxGraph, ValueInfo } from './model-proto.ts';
import type { Precision } from './precision/precision.ts';

/** Finite, so that a row with nothing visible is a uniform softmax and not NaN. */
const HIDDEN = -1e30;

/**
 * input_ids, position_ids [B, S], past_length [B], past_key.N, past_value.N [B, KV, T, hd], last_index [B, 1] →
 * logits [B, V] of the token at last_index, their log-sum-exp log_normalizer [B], and
 * new_kv [B, layers · 2 · KV, S, hd]: per layer the keys, then the values.
 * Of the T positions of the past only the first past_length are seen.
 */
export function buildServingGraph(
  a: Architecture,
  stored: ExternalDataFile['initializers'],
  precision: Precision,
): OnnxGraph {
  const g = new GraphBuilder(stored);
  const queries = a.heads * a.headDim;
  const group = a.heads / a.kvHeads;
  const epsilon = { float: a.normEpsilon };
  const scale = { float: a.headDim ** -0.5 };

  const batch = g.extent('input_ids', 0);
  const fresh = g.extent('input_ids', 1);
  const past = g.extent('past_key.0', 2);
  const list = (...extents: string[]) =>
    g.add(
      'Concat',
      extents.map((extent) => g.add('Unsqueeze', [extent, g.ints([0])])),
      { attributes: { axis: 0 } },
    );
  const range = (end: string) => g.add('Range', [g.int(0), end, g.int(1)]);
  const rowsOfHead = g.add('Mul', [fresh, g.int(group)]);
  /** Which keys are seen, as a bias [B, 1, group · S, extent]. */
  const hide = (visible: string, extent: string) => {
    const bias = g.add('Where', [visible, g.float(0), g.float(HIDDEN)]);
    return g.add('Expand', [bias, list(batch, g.int(1), rowsOfHead, extent)]);
  };
  // [1, 1, 1, T] < [B, 1, 1, 1] → [B, 1, 1, T]
  const pastLength = g.add('Unsqueeze', ['past_length', g.ints([1, 2, 3])]);
  const isPast = g.add('Less', [g.add('Unsqueeze', [range(past), g.ints([0, 1, 2])]), pastLength]);
  // [1, S] ≤ [S, 1] → [S, S], repeated for the heads of a group: [group · S, S]
  const steps = range(fresh);
  const order = [g.add('Unsqueeze', [steps, g.ints([0])]), g.add('Unsqueeze', [steps, g.ints([1])])];
  const isBefore = g.add('Tile', [g.add('LessOrEqual', order), g.ints([group, 1])]);
  const bias = g.add('Concat', [hide(isBefore, fresh), hide(isPast, past)], { attributes: { axis: -1 } });
  const sizes = list(fresh, past);

  /** x [B, heads, S, hd], its positions turned in. */
  const rotate = (x: string, heads: number) => {
    if (a.positions !== 'rotary') return x;
    const dims = rotaryDims(a);
    const part: Record<string, number> = dims < a.headDim ? { rotary_embedding_dim: dims, num_heads: heads } : {};
    return g.addContrib('RotaryEmbedding', [x, 'position_ids', g.weight('rotary.cos'), g.weight('rotary.sin')], {
      attributes: { interleaved: 0, ...part },
    });
  };
  const score = (q: string, k: string) =>
    g.addContrib('FusedMatMul', [q, k], { attributes: { transB: 1, alpha: scale } });

  /** q [B, H, S, hd], k and v [B, KV, S, hd] → [N, H · hd] */
  function attend(layer: number, q: string, k: string, v: string): string {
    // The heads of a group lie together: [B, KV, group · S, hd], so that one product serves all that share a key.
    const query = g.reshape(q, [0, a.kvHeads, -1, a.headDim]);
    const scores = g.add('Concat', [score(query, k), score(query, `past_key.${layer}`)], { attributes: { axis: -1 } });
    const shares = g.add('Softmax', [g.add('Add', [scores, bias])], { attributes: { axis: -1 } });
    const [freshShare, pastShare] = g.addAll('Split', [shares, sizes], 2, { attributes: { axis: -1 } });
    const mixed = g.add('Add', [
      g.add('MatMul', [freshShare!, v]),
      g.add('MatMul', [pastShare!, `past_value.${layer}`]),
    ]);
    const joined = g.transpose(g.reshape(mixed, [0, a.heads, -1, a.headDim]), [0, 2, 1, 3]);
    return g.reshape(joined, [-1, queries]);
  }

  // Everything but attention is about single tokens: [B, S] is one axis of N tokens there.
  const tokenShape = (...rest: number[]) =>
    g.once(`token shape ${rest}`, () =>
      g.add('Concat', [g.add('Shape', ['input_ids']), g.ints(rest)], { attributes: { axis: 0 } }),
    );
  const allHeads = a.heads + 2 * a.kvHeads;
  let residual = precision.embed(g, g.reshape('input_ids', [-1]), 'embed');
  if (a.embeddingScale !== 1) residual = g.add('Mul', [residual, g.float(a.embeddingScale)]);
  if (a.positions === 'learned') {
    const positions = g.add('Gather', [g.weight('positions'), g.reshape('position_ids', [-1])]);
    residual = g.add('Add', [residual, positions]);
  }
  /** Adds a branch to the residual stream. ONNX Runtime has one operator for this and the norm after it: a slower one. */
  const join = (branch: string) => {
    residual = g.add('Add', [residual, branch]);
  };
  const scaleNorm = { attributes: { axis: -1, epsilon, stash_type: 1 } };
  const rmsNorm = (x: string, weight: string) =>
    g.add('SimplifiedLayerNormalization', [x, g.weight(weight)], scaleNorm);
  const norm = (weight: string) =>
    a.norm === 'rms'
      ? rmsNorm(residual, weight)
      : g.add('LayerNormalization', [residual, g.weight(weight), g.weight(`${weight}.bias`)], scaleNorm);
  /** x [N, in] → [N, out] for each of the named weights, with its bias where it has one. */
  const multiply = (x: string, names: string[]) =>
    precision.linear(g, x, names).map((product, i) => g.addBias(product, `${names[i]}.bias`));
  const activate = (x: string) => {
    // QuickGelu with alpha 1 is SiLU in one pass.
    if (a.activation === 'silu') return g.addContrib('QuickGelu', [x], { attributes: { alpha: { float: 1 } } });
    return g.addContrib(a.activation === 'gelu' ? 'Gelu' : 'FastGelu', [x]);
  };

  const newKeysAndValues: string[] = [];
  for (let layer = 0; layer < a.layers; layer++) {
    const of = (part: string) => `layers.${layer}.${part}`;
    const normed = norm(of('attention_norm'));
    const [qkv] = multiply(normed, [of('qkv')]) as [string];
    // [N, (H + 2 KV) · hd] → [B, S, H + 2 KV, hd] → [B, H + 2 KV, S, hd]
    const heads = g.transpose(g.add('Reshape', [qkv, tokenShape(allHeads, a.headDim)]), [0, 2, 1, 3]);
    const [q, k, v] = g.split(heads, [a.heads, a.kvHeads, a.kvHeads], 1) as [string, string, string];
    const normHeads = (x: string, weight: string) => (a.queryKeyNorm ? rmsNorm(x, of(weight)) : x);
    const key = rotate(normHeads(k, 'k_norm'), a.kvHeads);
    newKeysAndValues.push(key, v);
    const attended = attend(layer, rotate(normHeads(q, 'q_norm'), a.heads), key, v);
    const [branch] = multiply(attended, [of('o')]) as [string];
    if (!a.parallelResidual) join(branch);

    const hidden = norm(of('mlp_norm'));
    const [inner, up] = multiply(hidden, a.gated ? [of('gate'), of('up')] : [of('up')]) as [string, string];
    const active = activate(inner);
    const [fed] = multiply(a.gated ? g.add('Mul', [active, up]) : active, [of('down')]) as [string];
    if (a.parallelResidual) join(branch);
    join(fed);
  }

  const last = g.add('GatherND', [g.add('Reshape', [norm('norm'), tokenShape(a.hiddenSize)]), 'last_index'], {
    attributes: { batch_dims: 1 },
  }); // [B, d]
  precision.head(g, last, a.tied ? 'embed' : 'head', 'logits');
  // What LogSoftmax took off any one logit. Its kernel sums each row the same way wherever it lies in memory; ReduceSum,
  // by alignment, does not.
  const logprobs = g.add('LogSoftmax', ['logits'], { attributes: { axis: -1 } });
  const firstOf = (x: string) => g.add('Gather', [x, g.int(0)], { attributes: { axis: 1 } }); // [B, V] → [B]
  g.add('Sub', [firstOf('logits'), firstOf(logprobs)], { outputs: ['log_normalizer'] });
  g.add('Concat', newKeysAndValues, { attributes: { axis: 1 }, outputs: ['new_kv'] });

  const inputs: ValueInfo[] = [
    { name: 'input_ids', type: 'int64', dims: ['batch', 'step'] },
    { name: 'position_ids', type: 'int64', dims: ['batch', 'step'] },
    { name: 'past_length', type: 'int64', dims: ['batch'] },
    { name: 'last_index', type: 'int64', dims: ['batch', 1] },
  ];
  for (let layer = 0; layer < a.layers; layer++) {
    for (const kind of ['key', 'value']) {
      const dims = ['batch', a.kvHeads, 'allocated', a.headDim];
      inputs.push({ name: `past_${kind}.${layer}`, type: 'float32', dims });
    }
  }
  return g.finish(inputs, [
    { name: 'logits', type: 'float32', dims: ['batch', a.vocabSize] },
    { name: 'log_normalizer', type: 'float32', dims: ['batch'] },
    { name: 'new_kv', type: 'float32', dims: ['batch', a.layers * 2 * a.kvHeads, 'step', a.headDim] },
  ]);
}
