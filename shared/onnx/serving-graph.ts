// serve.onnx, the graph of Attune's engine for prefill, chunked prefill and decoding. The KV cache is an input only,
// because the Node binding copies every output: scores against the past and among the new tokens share one softmax, and
// the new keys and values are returned as one small output that the engine appends. The new tokens' scores come first:
// padding is then at the end of every reduction, where it adds exact zeros, so that a row's logits do not depend on the
// cache length of other rows in the batch.

import type { Architecture } from '../model/architecture.ts';
import type { ExternalDataFile } from './external-data.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { OnnxGraph, ValueInfo } from './model-proto.ts';
import type { Precision } from './precision/precision.ts';
import { addDecoder, DECODER_INPUTS } from './serving-decoder.ts';

/**
 * input_ids, position_ids [B, S], past_length [B], past_key.N, past_value.N [B, KV, T, hd], last_index [B, K] →
 * logits [B · K, V] of the K tokens at last_index (one for generating, all of a given response for scoring it), their
 * log-sum-exp log_normalizer [B · K], and
 * new_kv [B, layers · 2 · KV, S, hd]: per layer the keys, then the values.
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
  g.add('Concat', newKeysAndValues, { attributes: { axis: 1 }, outputs: ['new_kv'] });

  const inputs: ValueInfo[] = [...DECODER_INPUTS, { name: 'past_length', type: 'int64', dims: ['batch'] }];
  for (let layer = 0; layer < a.layers; layer++) {
    for (const kind of ['key', 'value']) {
      const dims = ['batch', a.kvHeads, 'allocated', a.headDim];
      inputs.push({ name: `past_${kind}.${layer}`, type: 'float32', dims });
    }
  }
  return g.finish(inputs, [
    { name: 'logits', type: 'float32', dims: ['rows', a.vocabSize] },
    { name: 'log_normalizer', type: 'float32', dims: ['rows'] },
    { name: 'new_kv', type: 'float32', dims: ['batch', a.layers * 2 * a.kvHeads, 'step', a.headDim] },
  ]);
}
