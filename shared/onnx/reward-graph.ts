// reward.onnx, the graph that scores responses. A row of a batch is a prompt with its response, padded on the right with
// any token: attention is causal, so the padding changes nothing before it.

import type { Architecture } from '../model/architecture.ts';
import type { ExternalDataFile } from './external-data.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { OnnxGraph } from './model-proto.ts';
import { float32 } from './precision/float32.ts';
import { addDecoder, DECODER_INPUTS } from './serving-decoder.ts';

/**
 * input_ids, position_ids [B, S] (0, 1, 2, … in each row), last_index [B, 1] (of the response's last token) →
 * rewards [B]
 */
export function buildRewardGraph(a: Architecture, weights: ExternalDataFile['initializers']): OnnxGraph {
  const g = new GraphBuilder(weights);
  const { last } = addDecoder(g, a, float32, { hasCache: false });
  float32.outputLayer(g, last, 'reward', 'column'); // [B, 1]
  g.add('Squeeze', ['column', g.intVector([1])], { outputs: ['rewards'] });
  return g.finish(DECODER_INPUTS, [{ name: 'rewards', type: 'float32', dims: ['batch'] }]);
}
