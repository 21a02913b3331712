// serve.onnx, the graph of Attune's engine for prefill, chunked prefill and decoding. The KV cache is an input only,
// because the Node binding copies every output: scores against the past and of the new token share one softmax, and the
// new keys and values are returned as one small output that the engine appends. The new token's score comes first:
// padding is then at the end of every reduction, where it adds exact zeros, so that a row's logits do not depend on the
// cache length of other rows in the batch.

import type { Architecture } from '../model/architecture.ts';
import type { ExternalDataFile } from './external-data.ts';
import { GraphBuilder } from './graph-builder.ts';
import { type KvFormat, listKvPlanes } from './kv-format.ts';
import type { OnnxGraph, ValueInfo } from './model-proto.ts';
import type { Precision } from './precision/precision.ts';
import { quantizeRows } from './row-quantization.ts';
import { addDecoder, DECODER_INPUTS } from './serving-decoder.ts';

/**
 * input_ids, position_ids [B, S], past_length [B], last_index [B, K], and for each layer the planes of the KV cache
 * (kv-format.ts) →
 * logits [B · K, V] of the K tokens at last_index (one for generating, all of a given response for scoring it), their
 * log-sum-exp log_normalizer [B · K], and
 * new_kv [B, layers · 2 · KV, S, hd]: per layer the keys, then the values; with integers also new_kv_scale without hd.
 */
export function buildServingGraph(
  a: Architecture,
  weights: ExternalDataFile['initializers'],
  precision: Precision,
): OnnxGraph {
  const g = new GraphBuilder(weights);
  const { last, newKeysAndValues } = addDecoder(g, a, precision, { hasCache: true });
  precision.outputLayer(g, last, a.tied ? 'embed' : 'head', 'logits');
  // The log-sum-exp is one logit minus its LogSoftmax, whose kernel sums a row in the same order wherever it lies in
  // memory. ReduceSum's order depends on alignment.
  const logprobs = g.add('LogSoftmax', ['logits'], { attributes: { axis: -1 } });
  const firstColumn = (x: string) => g.add('Gather', [x, g.intScalar(0)], { attributes: { axis: 1 } }); // [B · K, V] → [B · K]
  g.add('Sub', [firstColumn('logits'), firstColumn(logprobs)], { outputs: ['log_normalizer'] });
  addNewKv(g, a, precision.kvFormat, newKeysAndValues);

  const inputs: ValueInfo[] = [...DECODER_INPUTS, { name: 'past_length', type: 'int64', dims: ['batch'] }];
  for (let layer = 0; layer < a.layers; layer++)
    for (const { name, type, dims } of listKvPlanes(a, precision.kvFormat))
      inputs.push({ name: `${name}.${layer}`, type, dims: dims<number | string>('batch', 'allocated') });
  return g.finish(inputs, [
    { name: 'logits', type: 'float32', dims: ['rows', a.vocabSize] },
    { name: 'log_normalizer', type: 'float32', dims: ['rows'] },
    ...describeNewKv(a, precision.kvFormat),
  ]);
}

/** Concatenates the new keys and values of all layers, and quantizes each vector if the cache has integers. */
function addNewKv(g: GraphBuilder, a: Architecture, format: KvFormat, newKeysAndValues: string[]): void {
  if (format === 'float32') {
    g.add('Concat', newKeysAndValues, { attributes: { axis: 1 }, outputs: ['new_kv'] });
    return;
  }
  const vectors = g.add('Concat', newKeysAndValues, { attributes: { axis: 1 } }); // [B, layers · 2 · KV, S, hd]
  const { bytes, scale } = quantizeRows(g, g.reshape(vectors, [-1, a.headDim]));
  const shape = g.add('Shape', [vectors]);
  g.add('Reshape', [bytes, shape], { outputs: ['new_kv'] });
  g.add('Reshape', [scale, g.add('Gather', [shape, g.intVector([0, 1, 2])])], { outputs: ['new_kv_scale'] });
}

function describeNewKv({ layers, kvHeads, headDim }: Architecture, format: KvFormat): ValueInfo[] {
  const dims = ['batch', layers * 2 * kvHeads, 'step'];
  if (format === 'float32') return [{ name: 'new_kv', type: 'float32', dims: [...dims, headDim] }];
  return [
    { name: 'new_kv', type: 'uint8', dims: [...dims, headDim] },
    { name: 'new_kv_scale', type: 'float32', dims },
  ];
}
