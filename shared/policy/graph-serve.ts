// The graph that Attune's own engine runs: prefill, chunks of a prompt and decoding in one. The cache is an input only,
// because the Node binding copies whatever a run returns: scores against the past and scores among the new tokens meet
// in one softmax, and the new keys and values come back as one small output that the engine appends.
// The new tokens' scores come first. Padding is then at the end of every reduction, where it adds exact zeros, so that
// a row's logits do not depend on how long its neighbours made the cache.
import type { OnnxGraph, ValueInfo } from '../onnx/model.ts';
import type { Architecture } from './architecture.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { WeightFile } from './graph-weights.ts';
import type { Precision } from './precision/precision.ts';

/** Finite, so that a row with nothing visible is a uniform softmax and not NaN. */
const HIDDEN = -1e30;

/**
 * input_ids, position_ids [B, S], past_length [B], past_key.N, past_value.N [B, KV, T, hd], last_index [B, 1] →
 * logits [B, V] of the token at last_index, their log-sum-exp log_normalizer [B], and
 * new_kv [B, S, layers · 2 · KV · hd]: per layer the keys, then the values.
 * Of the T positions of the past only the first past_length are seen.
 */
export function buildServeGraph(a: Architecture, stored: WeightFile['initializers'], precision: Precision): OnnxGraph {
  const g = new GraphBuilder(stored);
  const queries = a.heads * a.headDim;
  const keys = a.kvHeads * a.headDim;
  const group = a.heads / a.kvHeads;
  const epsilon = { float: a.normEpsilon };
  const scale = { float: a.headDim ** -0.5 };

  const past = g.extent('past_key.0', 2);
  const fresh = g.extent('input_ids', 1);
  const zero = g.ints([0]);
  const one = g.ints([1]);
  const sizes = g.add('Concat', [g.add('Unsqueeze', [fresh, zero]), g.add('Unsqueeze', [past, zero])], {
    attributes: { axis: 0 },
  });
  const hide = (visible: string) => g.add('Where', [visible, g.float(0), g.float(HIDDEN)]);
  const range = (end: string) => g.add('Range', [g.int(0), end, g.int(1)]);
  // [1, 1, 1, T] < [B, 1, 1, 1] → [B, 1, 1, T]
  const pastLength = g.add('Unsqueeze', ['past_length', g.ints([1, 2, 3])]);
  const pastBias = hide(g.add('Less', [g.add('Unsqueeze', [range(past), g.ints([0, 1, 2])]), pastLength]));
  // [1, S] ≤ [S, 1] → [S, S], repeated for the heads of a group: [group · S, S]
  const steps = range(fresh);
  const causal = g.add('LessOrEqual', [g.add('Unsqueeze', [steps, zero]), g.add('Unsqueeze', [steps, one])]);
  const freshBias = g.add('Tile', [hide(causal), g.ints([group, 1])]);

  const rotate = (x: string, heads: number) =>
    g.addContrib('RotaryEmbedding', [x, 'position_ids', g.weight('rotary.cos'), g.weight('rotary.sin')], {
      attributes: { num_heads: heads, interleaved: 0 },
    });
  const score = (q: string, k: string, bias: string) =>
    g.add('Add', [g.addContrib('FusedMatMul', [q, k], { attributes: { transB: 1, alpha: scale } }), bias]);
  /** [B, S, KV · hd] → [B, KV, S, hd] */
  const intoHeads = (x: string) => g.transpose(g.reshape(x, [0, 0, a.kvHeads, a.headDim]), [0, 2, 1, 3]);

  function attend(layer: number, q: string, k: string, v: string): string {
    // [B, S, KV, group, hd] → [B, KV, group, S, hd] → [B, KV, group · S, hd]: one key serves its group in one product.
    const grouped = g.transpose(g.reshape(q, [0, 0, a.kvHeads, group, a.headDim]), [0, 2, 3, 1, 4]);
    const query = g.reshape(grouped, [0, a.kvHeads, -1, a.headDim]);
    const scores = [score(query, intoHeads(k), freshBias), score(query, `past_key.${layer}`, pastBias)];
    const joined = g.add('Concat', scores, { attributes: { axis: -1 } });
    const shares = g.add('Softmax', [joined], { attributes: { axis: -1 } });
    const [freshShare, pastShare] = g.addAll('Split', [shares, sizes], 2, { attributes: { axis: -1 } });
    const mixed = g.add('Add', [
      g.add('MatMul', [freshShare!, intoHeads(v)]),
      g.add('MatMul', [pastShare!, `past_value.${layer}`]),
    ]);
    const ungrouped = g.transpose(g.reshape(mixed, [0, a.kvHeads, group, -1, a.headDim]), [0, 3, 1, 2, 4]);
    return g.reshape(ungrouped, [-1, queries]); // [N, H · hd]
  }

  // Everything but attention is about single tokens: [B, S] is one axis of N tokens there.
  const unflatten = (x: string) => {
    const shape = g.once('batch, step, any', () =>
      g.add('Concat', [g.add('Shape', ['input_ids']), g.ints([-1])], { attributes: { axis: 0 } }),
    );
    return g.add('Reshape', [x, shape]);
  };
  let residual = precision.embed(g, g.reshape('input_ids', [-1]), 'embed');
  let pending: string | null = null;
  /** Adds the pending branch to the residual stream and returns its norm. */
  function norm(weight: string): string {
    if (pending === null) {
      const attributes = { axis: -1, epsilon, stash_type: 1 };
      return g.add('SimplifiedLayerNormalization', [residual, g.weight(weight)], { attributes });
    }
    const sum = `${weight}.residual`;
    const normed = g.addContrib('SkipSimplifiedLayerNormalization', [residual, pending, g.weight(weight)], {
      attributes: { epsilon },
      outputs: [`${weight}.normed`, '', '', sum],
    });
    residual = sum;
    return normed;
  }

  const newKeysAndValues: string[] = [];
  for (let layer = 0; layer < a.layers; layer++) {
    const normed = norm(`layers.${layer}.attention_norm`);
    const [qkv] = precision.linear(g, normed, [`layers.${layer}.qkv`]) as [string];
    const [q, k, v] = g.split(unflatten(qkv), [queries, keys, keys], -1) as [string, string, string];
    const key = rotate(k, a.kvHeads);
    newKeysAndValues.push(key, v);
    const attended = attend(layer, rotate(q, a.heads), key, v);
    pending = precision.linear(g, attended, [`layers.${layer}.o`])[0]!;

    const hidden = norm(`layers.${layer}.mlp_norm`);
    const [gate, up] = precision.linear(g, hidden, [`layers.${layer}.gate`, `layers.${layer}.up`]) as [string, string];
    // QuickGelu with alpha 1 is SiLU in one pass.
    const silu = g.addContrib('QuickGelu', [gate], { attributes: { alpha: { float: 1 } } });
    pending = precision.linear(g, g.add('Mul', [silu, up]), [`layers.${layer}.down`])[0]!;
  }

  const last = g.add('GatherND', [unflatten(norm('norm')), 'last_index'], { attributes: { batch_dims: 1 } }); // [B, d]
  precision.head(g, last, a.tied ? 'embed' : 'head', 'logits');
  // What LogSoftmax took off any one logit. Its kernel sums each row the same way wherever it lies in memory; ReduceSum,
  // by alignment, does not.
  const logprobs = g.add('LogSoftmax', ['logits'], { attributes: { axis: -1 } });
  const firstOf = (x: string) => g.add('Gather', [x, g.int(0)], { attributes: { axis: 1 } }); // [B, V] → [B]
  g.add('Sub', [firstOf('logits'), firstOf(logprobs)], { outputs: ['log_normalizer'] });
  g.add('Concat', newKeysAndValues, { attributes: { axis: -1 }, outputs: ['new_kv'] });

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
    { name: 'new_kv', type: 'float32', dims: ['batch', 'step', a.layers * 2 * keys] },
  ]);
}
