// model.onnx, the graph for other clients, with the inputs and outputs of transformers.js and Optimum. Standard ONNX
// operators only, so that any runtime can load it; only the serving graph is optimized.

import { type Architecture, rotaryDims } from '../model/architecture.ts';
import type { ExternalDataFile } from './external-data.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { OnnxGraph, ValueInfo } from './model-proto.ts';
import { float32 } from './precision/float32.ts';

/** Finite, so that a fully masked query (left padding) gives a uniform softmax instead of NaN. */
const MASKED = -1e30;

/**
 * input_ids, position_ids [B, S], attention_mask [B, P + S], past_key_values.N.key, .value [B, KV, P, hd] →
 * logits [B, S, V], present.N.key, present.N.value [B, KV, P + S, hd]
 */
export function buildModelGraph(a: Architecture, weights: ExternalDataFile['initializers']): OnnxGraph {
  const g = new GraphBuilder(weights);
  const queries = a.heads * a.headDim;
  const keys = a.kvHeads * a.headDim;
  const group = a.heads / a.kvHeads;

  const total = g.dim('attention_mask', 1);
  const newTokens = g.dim('input_ids', 1);
  const range = (start: string, end: string) => g.add('Range', [start, end, g.intScalar(1)]);
  const keyPositions = g.add('Unsqueeze', [range(g.intScalar(0), total), g.intVector([0])]); // [1, T]
  const queryPositions = g.add('Unsqueeze', [range(g.add('Sub', [total, newTokens]), total), g.intVector([1])]); // [S, 1]
  const attended = g.add('Unsqueeze', ['attention_mask', g.intVector([1, 2, 3])]); // [B, 1, 1, 1, T]
  const visible = g.add('And', [
    g.add('LessOrEqual', [keyPositions, queryPositions]), // [S, T]
    g.add('Greater', [attended, g.intScalar(0)]),
  ]);
  const bias = g.add('Where', [visible, g.floatScalar(0), g.floatScalar(MASKED)]); // [B, 1, 1, S, T]

  /** The table's row of each position, for both halves of a head: [B, S, 1, rotaryDims] */
  function angles(table: string): string {
    const half = g.add('Gather', [g.weight(table), 'position_ids']);
    return g.add('Unsqueeze', [g.add('Concat', [half, half], { attributes: { axis: -1 } }), g.intVector([2])]);
  }
  const isRotary = a.positions === 'rotary';
  const cos = isRotary ? angles('rotary.cos') : '';
  const sin = isRotary ? angles('rotary.sin') : '';
  const concat = (...parts: string[]) => g.add('Concat', parts, { attributes: { axis: -1 } });

  /** Applies the rotary embedding to the first rotaryDims dimensions of x [B, S, heads, hd]. */
  function rotate(x: string): string {
    if (!isRotary) return x;
    const half = rotaryDims(a) / 2;
    const rest = a.headDim - 2 * half;
    const [first, second, unrotated] = g.split(x, [half, half, ...(rest > 0 ? [rest] : [])], -1) as [
      string,
      string,
      string,
    ];
    const rotaryPart = rest > 0 ? concat(first, second) : x;
    const rotated = g.add('Add', [
      g.add('Mul', [rotaryPart, cos]),
      g.add('Mul', [concat(g.add('Neg', [second]), first), sin]),
    ]);
    return rest > 0 ? concat(rotated, unrotated) : rotated;
  }

  const linear = (x: string, weight: string) => g.addBias(float32.linear(g, x, [weight])[0]!, `${weight}.bias`);
  const mean = (x: string) => g.add('ReduceMean', [x, g.intVector([-1])]);

  function norm(x: string, weight: string): string {
    const centered = a.norm === 'layer' ? g.add('Sub', [x, mean(x)]) : x;
    return rmsNorm(centered, weight);
  }

  /** x / rms(x) · weight + bias */
  function rmsNorm(x: string, weight: string): string {
    const root = g.add('Sqrt', [g.add('Add', [mean(g.add('Mul', [x, x])), g.floatScalar(a.normEpsilon)])]);
    return g.addBias(g.add('Mul', [g.add('Div', [x, root]), g.weight(weight)]), `${weight}.bias`);
  }

  /** x [B, S, heads · hd] → [B, S, heads, hd], with query-key norm and rotary embedding. */
  function splitHeads(x: string, heads: number, normWeight: string): string {
    const split = g.reshape(x, [0, 0, heads, a.headDim]);
    return rotate(a.queryKeyNorm ? rmsNorm(split, normWeight) : split);
  }

  function attend(layer: number, normed: string): string {
    const qkv = linear(normed, `layers.${layer}.qkv`);
    const [q, k, v] = g.split(qkv, [queries, keys, keys], -1) as [string, string, string];
    /** [B, S, KV, hd] → [B, KV, P + S, hd] */
    const extend = (kind: string, x: string) =>
      g.add('Concat', [`past_key_values.${layer}.${kind}`, g.transpose(x, [0, 2, 1, 3])], {
        attributes: { axis: 2 },
        outputs: [`present.${layer}.${kind}`],
      });
    const allKeys = extend('key', splitHeads(k, a.kvHeads, `layers.${layer}.k_norm`));
    const allValues = extend('value', g.reshape(v, [0, 0, a.kvHeads, a.headDim]));
    // [B, S, H, hd] → [B, KV, group, S, hd]; keys and values broadcast over the group.
    const rotated = splitHeads(q, a.heads, `layers.${layer}.q_norm`);
    const grouped = g.reshape(rotated, [0, 0, a.kvHeads, group, a.headDim]);
    const query = g.transpose(grouped, [0, 2, 3, 1, 4]);
    const key = g.transpose(g.add('Unsqueeze', [allKeys, g.intVector([2])]), [0, 1, 2, 4, 3]); // [B, KV, 1, hd, T]
    const scores = g.add('Mul', [g.add('MatMul', [query, key]), g.floatScalar(a.headDim ** -0.5)]);
    const probabilities = g.add('Softmax', [g.add('Add', [scores, bias])], { attributes: { axis: -1 } });
    const mixed = g.add('MatMul', [probabilities, g.add('Unsqueeze', [allValues, g.intVector([2])])]);
    const merged = g.reshape(g.transpose(mixed, [0, 3, 1, 2, 4]), [0, 0, queries]);
    return linear(merged, `layers.${layer}.o`);
  }

  function activate(x: string): string {
    const times = (y: string, factor: number) => g.add('Mul', [y, g.floatScalar(factor)]);
    if (a.activation === 'silu') return g.add('Mul', [x, g.add('Sigmoid', [x])]);
    // GELU: x · (1 + f(…)) / 2, where f is erf or its tanh approximation.
    const cubic = () => g.add('Add', [x, times(g.add('Mul', [g.add('Mul', [x, x]), x]), 0.044715)]);
    const sigmoidal =
      a.activation === 'gelu'
        ? g.add('Erf', [times(x, Math.SQRT1_2)])
        : g.add('Tanh', [times(cubic(), Math.sqrt(2 / Math.PI))]);
    return g.add('Mul', [times(x, 0.5), g.add('Add', [sigmoidal, g.floatScalar(1)])]);
  }

  function feedForward(layer: number, normed: string): string {
    const inner = activate(linear(normed, `layers.${layer}.${a.gated ? 'gate' : 'up'}`));
    const gated = a.gated ? g.add('Mul', [inner, linear(normed, `layers.${layer}.up`)]) : inner;
    return linear(gated, `layers.${layer}.down`);
  }

  let x = float32.embed(g, 'input_ids', 'embed');
  if (a.embeddingScale !== 1) x = g.add('Mul', [x, g.floatScalar(a.embeddingScale)]);
  if (!isRotary) x = g.add('Add', [x, g.add('Gather', [g.weight('positions'), 'position_ids'])]);
  for (let layer = 0; layer < a.layers; layer++) {
    const attended = g.add('Add', [x, attend(layer, norm(x, `layers.${layer}.attention_norm`))]);
    const mlpInput = a.parallelResidual ? x : attended;
    x = g.add('Add', [attended, feedForward(layer, norm(mlpInput, `layers.${layer}.mlp_norm`))]);
  }
  float32.outputLayer(g, g.reshape(norm(x, 'norm'), [-1, a.hiddenSize]), a.tied ? 'embed' : 'head', 'flat_logits');
  const shape = g.add('Concat', [g.add('Shape', ['input_ids']), g.intVector([a.vocabSize])], {
    attributes: { axis: 0 },
  });
  g.add('Reshape', ['flat_logits', shape], { outputs: ['logits'] });

  const tokenDims = ['batch_size', 'sequence_length'];
  const inputs: ValueInfo[] = [
    { name: 'input_ids', type: 'int64', dims: tokenDims },
    { name: 'attention_mask', type: 'int64', dims: ['batch_size', 'total_sequence_length'] },
    { name: 'position_ids', type: 'int64', dims: tokenDims },
  ];
  const outputs: ValueInfo[] = [{ name: 'logits', type: 'float32', dims: [...tokenDims, a.vocabSize] }];
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
