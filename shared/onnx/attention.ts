// Attention of the serving graph. A prompt's chunk is computed by ONNX Runtime's GroupQueryAttention, one token of each row
// by products of our own: for one token that operator takes four times as long, and copies the cache. The KV cache is an
// input only. Integer keys and values are multiplied as integers, so their sums are exact in any order.

import type { Architecture } from '../model/architecture.ts';
import { hadamardMatrix, largestPowerOfTwo } from '../model/rotation.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { KvFormat } from './kv-format.ts';
import { ZERO_POINT } from './row-quantization.ts';

/** TensorProto.DataType */
const TYPE = { float32: 1, uint8: 2, int32: 6 };

/** Finite, so that a fully masked row gives a uniform softmax instead of NaN. */
const MASKED = -1e30;

/** q [B, H, S, hd], k and v [B, KV, S, hd] → the attention's output [N, H · hd], and the keys as they are kept. */
type Attend = (layer: number, q: string, k: string, v: string) => { mixed: string; keys: string };

/** Steps of a byte that the largest number of a query takes, and the largest weighted probability. */
const QUERY_RANGE = 127;
const PROBABILITY_RANGE = 255;

/**
 * Inputs: input_ids [B, S], last_index [B, K]; with a cache past_length [B] and the planes of its format (kv-format.ts), of
 * whose T positions only the first past_length are attended to. `kvFormat`: null without a cache.
 */
export function openAttention(g: GraphBuilder, a: Architecture, kvFormat: KvFormat | null): Attend {
  const group = a.heads / a.kvHeads;
  const queries = a.heads * a.headDim;
  const scale = a.headDim ** -0.5;
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
  const cast = (x: string, to: number) => g.add('Cast', [x], { attributes: { to } });
  const chunk = findLengths();
  const step = kvFormat ? prepareStep() : null;

  /** What GroupQueryAttention asks for, int32: of each row the index of its last token [B], and the tokens of the longest. */
  function findLengths(): { lastPositions: string; longest: string } {
    const lastToken = g.add('Gather', ['last_index', g.intScalar(-1)], { attributes: { axis: 1 } }); // [B, K] → [B]
    if (!kvFormat) return { lastPositions: cast(lastToken, TYPE.int32), longest: cast(newTokens, TYPE.int32) };
    const longestPast = g.add('ReduceMax', ['past_length'], { attributes: { keepdims: 0 } });
    return {
      lastPositions: cast(g.add('Add', ['past_length', lastToken]), TYPE.int32),
      longest: cast(g.add('Add', [longestPast, newTokens]), TYPE.int32),
    };
  }

  /** Whether the run is a decoding step, which keys it sees, and how many are new and past. The new token's key comes first. */
  function prepareStep(): { isStep: string; bias: string; sizes: string } {
    const past = g.dim('past_value.0', 2);
    const keys = g.add('Add', [past, g.intScalar(1)]);
    const range = g.add('Range', [g.intScalar(0), keys, g.intScalar(1)]);
    // [1, 1, 1, 1 + T] ≤ [B, 1, 1, 1] → [B, 1, 1, 1 + T]
    const pastLength = g.add('Unsqueeze', ['past_length', g.intVector([1, 2, 3])]);
    const isVisible = g.add('LessOrEqual', [g.add('Unsqueeze', [range, g.intVector([0, 1, 2])]), pastLength]);
    const bias = g.add('Where', [isVisible, g.floatScalar(0), g.floatScalar(MASKED)]);
    const isOneToken = g.add('Equal', [newTokens, g.intScalar(1)]);
    return {
      isStep: g.add('And', [isOneToken, g.add('Greater', [past, g.intScalar(0)])]),
      bias: g.add('Expand', [bias, toVector(batch, g.intScalar(1), g.intScalar(group), keys)]),
      sizes: toVector(g.intScalar(1), past),
    };
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
    const past = kvFormat ? readPast(layer).map((x) => g.padLast(x, padding, 4)) : ['', ''];
    const [mixed] = g.addContribMultiOutput(
      'GroupQueryAttention',
      [
        ...[merge(q, a.heads), merge(k, a.kvHeads), merge(v, a.kvHeads), ...past],
        ...[chunk.lastPositions, chunk.longest, '', '', '', '', g.floatVector(MASKED, a.heads)],
      ],
      3,
      { attributes: { num_heads: a.heads, kv_num_heads: a.kvHeads, scale: { float: scale } } },
    ) as [string];
    if (padding === 0) return g.reshape(mixed, [-1, queries]);
    const heads = g.reshape(mixed, [-1, a.heads, a.headDim + padding]);
    return g.reshape(g.split(heads, [a.headDim, padding], -1)[0]!, [-1, queries]);
  }

  /** The past keys and values as float32 [B, KV, T, hd]. */
  function readPast(layer: number): [string, string] {
    if (kvFormat === 'float32') return [`past_key.${layer}`, `past_value.${layer}`];
    const swap = (x: string) => g.transpose(x, [0, 1, 3, 2]);
    const dequantize = (bytes: string, scales: string) => {
      const integers = g.add('DequantizeLinear', [bytes, g.floatScalar(1), g.byteScalar(ZERO_POINT)]);
      return g.add('Mul', [integers, swap(scales)]); // scales [B, KV, 1, T] → [B, KV, T, 1]
    };
    return [
      dequantize(swap(`past_key.${layer}`), `past_key_scale.${layer}`),
      dequantize(`past_value.${layer}`, `past_value_scale.${layer}`),
    ];
  }

  /** One new token of each row. */
  function attendStep(layer: number, q: string, k: string, v: string): string {
    const { bias, sizes } = step!;
    const isInteger = kvFormat === 'int8';
    // The heads of a group are adjacent: [B, KV, group, hd], so one product serves all heads that share a key.
    const query = g.reshape(q, [0, a.kvHeads, group, a.headDim]);
    const pastScores = isInteger ? scoreIntegers(layer, query) : score(query, `past_key.${layer}`);
    const scores = g.add('Concat', [score(query, k), pastScores], { attributes: { axis: -1 } });
    const probabilities = g.add('Softmax', [g.add('Add', [scores, bias])], { attributes: { axis: -1 } });
    const [ofNew, ofPast] = g.addMultiOutput('Split', [probabilities, sizes], 2, { attributes: { axis: -1 } }) as [
      string,
      string,
    ];
    const past = isInteger ? mixIntegers(layer, ofPast) : g.add('MatMul', [ofPast, `past_value.${layer}`]);
    return g.reshape(g.add('Add', [g.add('MatMul', [ofNew, v]), past]), [-1, queries]);
  }

  const score = (query: string, keys: string) =>
    g.addContrib('FusedMatMul', [query, keys], { attributes: { transB: 1, alpha: { float: scale } } });

  /** query [B, KV, group, hd] · integer keys [B, KV, hd, T] → [B, KV, group, T] */
  function scoreIntegers(layer: number, query: string): string {
    const largest = maxOfRows(g.add('Abs', [query])); // [B, KV, group, 1]
    const bytes = toBytes(query, g.add('Mul', [largest, g.floatScalar(1 / QUERY_RANGE)]), ZERO_POINT);
    const sums = multiplyIntegers(bytes, `past_key.${layer}`, ZERO_POINT);
    const unit = g.add('Mul', [largest, g.floatScalar(scale / QUERY_RANGE)]);
    return g.add('Mul', [g.add('Mul', [sums, `past_key_scale.${layer}`]), unit]);
  }

  /** probabilities [B, KV, group, T] · integer values [B, KV, T, hd]: the scale of a value becomes part of its probability. */
  function mixIntegers(layer: number, probabilities: string): string {
    const weighted = g.add('Mul', [probabilities, `past_value_scale.${layer}`]);
    // 0 if the new token takes all: whatever the bytes are then, their sum is multiplied by 0.
    const unit = g.add('Mul', [maxOfRows(weighted), g.floatScalar(1 / PROBABILITY_RANGE)]);
    return g.add('Mul', [multiplyIntegers(toBytes(weighted, unit, 0), `past_value.${layer}`, 0), unit]);
  }

  const maxOfRows = (x: string) => g.add('ReduceMax', [x, g.intVector([-1])], { attributes: { keepdims: 1 } });

  /** round(x / unit) + zeroPoint, as a byte; x / unit + zeroPoint is not negative. */
  const toBytes = (x: string, unit: string, zeroPoint: number) =>
    cast(g.add('Add', [g.add('Div', [x, unit]), g.floatScalar(zeroPoint + 0.5)]), TYPE.uint8);

  /** (x − zeroPoint) · (y − 128) for bytes x [.., m, k] and y [.., k, n], as float32; the sums are exact until they are cast. */
  const multiplyIntegers = (x: string, y: string, zeroPoint: number) => {
    const one = g.floatScalar(1);
    return g.addContrib('MatMulIntegerToFloat', [x, y, one, one, g.byteScalar(zeroPoint), g.byteScalar(ZERO_POINT)]);
  };

  /** x H for each block of a head: queries and keys keep their products, and outliers of a key are spread over its bytes. */
  function spread(x: string): string {
    const block = largestPowerOfTwo(a.headDim);
    const hadamard = g.floatMatrix(`hadamard_${block}`, block, hadamardMatrix(block));
    if (block === a.headDim) return g.add('MatMul', [x, hadamard]);
    return g.reshape(g.add('MatMul', [g.reshape(x, [0, 0, -1, block]), hadamard]), [0, 0, -1, a.headDim]);
  }

  function attend(layer: number, q: string, k: string, v: string): string {
    if (!step) return attendChunk(layer, q, k, v);
    return g.choose(
      step.isStep,
      () => attendStep(layer, q, k, v),
      () => attendChunk(layer, q, k, v),
      ['tokens', queries],
    );
  }

  return (layer, q, k, v) => {
    const [query, keys] = kvFormat === 'int8' ? [spread(q), spread(k)] : [q, k];
    return { mixed: attend(layer, query, keys, v), keys };
  };
}
