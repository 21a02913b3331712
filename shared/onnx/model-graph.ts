// The graph that other people's clients run, with the inputs and outputs that transformers.js and Optimum agree on.
// Plain ONNX operators only, so that any runtime can take it; nothing here is tuned, the serving graph is.

import { type Architecture, rotaryDims } from '../model/architecture.ts';
import type { ExternalDataFile } from './external-data.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { OnnxGraph, ValueInfo } from './model-proto.ts';
import { float32 } from './precision/float32.ts';

/** Finite, so that a query which sees nothing (left padding) is a uniform softmax and not NaN. */
const HIDDEN = -1e30;

/**
 * input_ids, position_ids [B, S], attention_mask [B, P + S], past_key_values.N.key, .value [B, KV, P, hd] →
 * logits [B, S, V], present.N.key, present.N.value [B, KV, P + S, hd]
 */
export function buildModelGraph(a: Architecture, stored: ExternalDataFile['initializers']): OnnxGraph {
  const g = new GraphBuilder(stored);
  const queries = a.heads * a.headDim;
  const keys = a.kvHeads * a.headDim;
  const group = a.heads / a.kvHeads;

  const total = g.extent('attention_mask', 1);
  const fresh = g.extent('input_ids', 1);
  const range = (start: string, end: string) => g.add('Range', [start, end, g.int(1)]);
  const keyAt = g.add('Unsqueeze', [range(g.int(0), total), g.ints([0])]); // [1, T]
  const queryAt = g.add('Unsqueeze', [range(g.add('Sub', [total, fresh]), total), g.ints([1])]); // [S, 1]
  const attended = g.add('Unsqueeze', ['attention_mask', g.ints([1, 2, 3])]); // [B, 1, 1, 1, T]
  const visible = g.add('And', [
    g.add('LessOrEqual', [keyAt, queryAt]), // [S, T]
    g.add('Greater', [attended, g.int(0)]),
  ]);
  const bias = g.add('Where', [visible, g.float(0), g.float(HIDDEN)]); // [B, 1, 1, S, T]

  /** A row of the table per position, for both halves of a head: [B, S, 1, hd] */
  function angles(table: string): string {
    const half = g.add('Gather', [g.weight(table), 'position_ids']);
    return g.add('Unsqueeze', [g.add('Concat', [half, half], { attributes: { axis: -1 } }), g.ints([2])]);
  }
  const isRotary = a.positions === 'rotary';
  const cos = isRotary ? angles('rotary.cos') : '';
  const sin = isRotary ? angles('rotary.sin') : '';
  const join = (...parts: string[]) => g.add('Concat', parts, { attributes: { axis: -1 } });

  /** The first dimensions of x [B, S, heads, hd] turned, all of them or as many as there are angles for. */
  function rotate(x: string): string {
    if (!isRotary) return x;
    const half = rotaryDims(a) / 2;
    const rest = a.headDim - 2 * half;
    const [first, second, still] = g.split(x, [half, half, ...(rest > 0 ? [rest] : [])], -1) as [
      string,
      string,
      string,
    ];
    const own = rest > 0 ? join(first, second) : x;
    const turned = g.add('Add', [g.add('Mul', [own, cos]), g.add('Mul', [join(g.add('Neg', [second]), first), sin])]);
    return rest > 0 ? join(turned, still) : turned;
  }

  const multiply = (x: string, weight: string) => g.addBias(float32.linear(g, x, [weight])[0]!, `${weight}.bias`);
  const mean = (x: string) => g.add('ReduceMean', [x, g.ints([-1])]);

  function norm(x: string, weight: string): string {
    const centred = a.norm === 'layer' ? g.add('Sub', [x, mean(x)]) : x;
    return rescale(centred, weight);
  }

  /** x over its root mean square, with gain and bias. */
  function rescale(x: string, weight: string): string {
    const root = g.add('Sqrt', [g.add('Add', [mean(g.add('Mul', [x, x])), g.float(a.normEpsilon)])]);
    return g.addBias(g.add('Mul', [g.add('Div', [x, root]), g.weight(weight)]), `${weight}.bias`);
  }

  /** x [B, S, heads · hd] → [B, S, heads, hd], normed head by head where the model does that, and turned. */
  function takeHeads(x: string, heads: number, normWeight: string): string {
    const split = g.reshape(x, [0, 0, heads, a.headDim]);
    return rotate(a.queryKeyNorm ? rescale(split, normWeight) : split);
  }

  function attend(layer: number, normed: string): string {
    const qkv = multiply(normed, `layers.${layer}.qkv`);
    const [q, k, v] = g.split(qkv, [queries, keys, keys], -1) as [string, string, string];
    /** [B, S, KV, hd] → [B, KV, P + S, hd] */
    const extend = (kind: string, x: string) =>
      g.add('Concat', [`past_key_values.${layer}.${kind}`, g.transpose(x, [0, 2, 1, 3])], {
        attributes: { axis: 2 },
        outputs: [`present.${layer}.${kind}`],
      });
    const allKeys = extend('key', takeHeads(k, a.kvHeads, `layers.${layer}.k_norm`));
    const allValues = extend('value', g.reshape(v, [0, 0, a.kvHeads, a.headDim]));
    // [B, S, H, hd] → [B, KV, group, S, hd]; keys and values broadcast over their group.
    const turned = takeHeads(q, a.heads, `layers.${layer}.q_norm`);
    const grouped = g.reshape(turned, [0, 0, a.kvHeads, group, a.headDim]);
    const query = g.transpose(grouped, [0, 2, 3, 1, 4]);
    const key = g.transpose(g.add('Unsqueeze', [allKeys, g.ints([2])]), [0, 1, 2, 4, 3]); // [B, KV, 1, hd, T]
    const scores = g.add('Mul', [g.add('MatMul', [query, key]), g.float(a.headDim ** -0.5)]);
    const shares = g.add('Softmax', [g.add('Add', [scores, bias])], { attributes: { axis: -1 } });
    const mixed = g.add('MatMul', [shares, g.add('Unsqueeze', [allValues, g.ints([2])])]);
    const joined = g.reshape(g.transpose(mixed, [0, 3, 1, 2, 4]), [0, 0, queries]);
    return multiply(joined, `layers.${layer}.o`);
  }

  function activate(x: string): string {
    const times = (y: string, factor: number) => g.add('Mul', [y, g.float(factor)]);
    if (a.activation === 'silu') return g.add('Mul', [x, g.add('Sigmoid', [x])]);
    // x · (1 + f(…)) / 2, where f is erf, or tanh of a cubic that comes near it.
    const cubic = () => g.add('Add', [x, times(g.add('Mul', [g.add('Mul', [x, x]), x]), 0.044715)]);
    const bent =
      a.activation === 'gelu'
        ? g.add('Erf', [times(x, Math.SQRT1_2)])
        : g.add('Tanh', [times(cubic(), Math.sqrt(2 / Math.PI))]);
    return g.add('Mul', [times(x, 0.5), g.add('Add', [bent, g.float(1)])]);
  }

  function feedForward(layer: number, normed: string): string {
    const inner = activate(multiply(normed, `layers.${layer}.${a.gated ? 'gate' : 'up'}`));
    const gated = a.gated ? g.add('Mul', [inner, multiply(normed, `layers.${layer}.up`)]) : inner;
    return multiply(gated, `layers.${layer}.down`);
  }

  let x = float32.embed(g, 'input_ids', 'embed');
  if (a.embeddingScale !== 1) x = g.add('Mul', [x, g.float(a.embeddingScale)]);
  if (!isRotary) x = g.add('Add', [x, g.add('Gather', [g.weight('positions'), 'position_ids'])]);
  for (let layer = 0; layer < a.layers; layer++) {
    const attended = g.add('Add', [x, attend(layer, norm(x, `layers.${layer}.attention_norm`))]);
    const fed = a.parallelResidual ? x : attended;
    x = g.add('Add', [attended, feedForward(layer, norm(fed, `layers.${layer}.mlp_norm`))]);
  }
  float32.head(g, g.reshape(norm(x, 'norm'), [-1, a.hiddenSize]), a.tied ? 'embed' : 'head', 'flat_logits');
  const shape = g.add('Concat', [g.add('Shape', ['input_ids']), g.ints([a.vocabSize])], { attributes: { axis: 0 } });
  g.add('Reshape', ['flat_logits', shape], { outputs: ['logits'] });

  const step = ['batch_size', 'sequence_length'];
  const inputs: ValueInfo[] = [
    { name: 'input_ids', type: 'int64', dims: step },
    { name: 'attention_mask', type: 'int64', dims: ['batch_size', 'total_sequence_length'] },
    { name: 'position_ids', type: 'int64', dims: step },
  ];
  const outputs: ValueInfo[] = [{ name: 'logits', type: 'float32', dims: [...step, a.vocabSize] }];
  const cache = (length: string) => ['batch_size', a.kvHeads, length, a.headDim];
  for (let layer = 0; layer < a.layers; layer++) {
    for (const kind of ['key', 'value']) {
      const past = `past_key_values.${layer}.${kind}`;
      inputs.push({ name: past, type: 'float32', dims: cache('past_sequence_length') });
      outputs.push({ name: `present.${layer}.${kind}`, type: 'float32', dims: cache('total_sequence_length') });
    }
  }
  return g.finish(inputs, outputs);
}
