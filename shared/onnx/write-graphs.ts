// Writes a policy's two ONNX graphs and the one file of weights that both read. `model.onnx` is for other people's
// clients (transformers.js), `serve.onnx` for Attune's engine. The weights are stored once, in one layout for both.
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Architecture, rotaryDims } from '../model/architecture.ts';
import { concatRows } from '../model/matrix.ts';
import { rotaryTables } from '../model/rotary.ts';
import type { Tensor, Weights } from '../model/safetensors.ts';
import type { PrecisionName } from '../precision-name.ts';
import { ExternalDataFile } from './external-data.ts';
import { buildModelGraph } from './model-graph.ts';
import { type OnnxGraph, writeOnnxModel } from './model-proto.ts';
import { float32 } from './precision/float32.ts';
import type { Precision } from './precision/precision.ts';
import { PRECISIONS } from './precision/precisions.ts';
import { buildServingGraph } from './serving-graph.ts';

const SHARED_DATA = 'model.onnx_data';
export const SERVE_GRAPH = 'serve.onnx';
export const SERVE_DATA = 'serve.onnx_data';

/**
 * Writes onnx/model.onnx, onnx/serve.onnx and their weights into a policy's folder; all on disk on return. The graph for
 * others is float32 always; at float32 both read one file.
 */
export async function writePolicyGraphs(
  folder: string,
  architecture: Architecture,
  weights: Weights,
  precision: PrecisionName = 'fp32',
): Promise<void> {
  const onnx = join(folder, 'onnx');
  await mkdir(onnx, { recursive: true });
  const shared = await storeWeights(onnx, SHARED_DATA, architecture, weights, float32);
  await writeGraph(onnx, 'model.onnx', buildModelGraph(architecture, shared));
  if (precision === 'fp32') await writeGraph(onnx, SERVE_GRAPH, buildServingGraph(architecture, shared, float32));
  else await writeServingGraph(onnx, architecture, weights, precision);
}

/** Writes serve.onnx and a file of weights for it alone into a folder; what has these names is replaced. */
export async function writeServingGraph(
  onnx: string,
  architecture: Architecture,
  weights: Weights,
  name: PrecisionName,
): Promise<void> {
  await mkdir(onnx, { recursive: true });
  const precision = PRECISIONS[name];
  const stored = await storeWeights(onnx, SERVE_DATA, architecture, weights, precision);
  await writeGraph(onnx, SERVE_GRAPH, buildServingGraph(architecture, stored, precision));
}

async function writeGraph(onnx: string, name: string, graph: OnnxGraph): Promise<void> {
  await writeFile(join(onnx, name), writeOnnxModel(graph), { flush: true });
  const directory = await open(onnx, 'r');
  await directory.sync();
  await directory.close();
}

async function storeWeights(
  onnx: string,
  location: string,
  architecture: Architecture,
  weights: Weights,
  precision: Precision,
): Promise<ExternalDataFile['initializers']> {
  const file = await ExternalDataFile.create(join(onnx, location), location);
  try {
    await storeAll(file, architecture, weights, precision);
  } finally {
    await file.close();
  }
  return file.initializers;
}

async function storeAll(
  file: ExternalDataFile,
  a: Architecture,
  weights: Weights,
  precision: Precision,
): Promise<void> {
  const take = (name: string) => {
    const tensor = weights.get(name);
    if (!tensor) throw new Error(`internal: graph: the weights have no ${name}`);
    return tensor;
  };
  const storeAsIs = async (name: string, { shape, data }: Tensor) => file.store(name, 'float32', shape, data);
  const storeNorm = async (name: string, from: string) => {
    await storeAsIs(name, take(`${from}.weight`));
    if (weights.has(`${from}.bias`)) await storeAsIs(`${name}.bias`, take(`${from}.bias`));
  };
  const storeLinear = async (name: string, from: string[]) => {
    await precision.storeLinear(file, name, concatRows(from.map((part) => take(`${part}.weight`))));
    const biases = from.filter((part) => weights.has(`${part}.bias`)).map((part) => take(`${part}.bias`));
    if (biases.length > 0) await storeAsIs(`${name}.bias`, concatRows(biases));
  };

  await precision.storeTable(file, 'embed', take('model.embed_tokens.weight'));
  if (a.positions === 'learned') await storeAsIs('positions', take('model.embed_positions.weight'));
  else {
    for (const [name, table] of Object.entries(rotaryTables(a, a.contextLength))) {
      await file.store(`rotary.${name}`, 'float32', [a.contextLength, rotaryDims(a) / 2], table);
    }
  }
  for (let layer = 0; layer < a.layers; layer++) {
    const from = `model.layers.${layer}`;
    const to = `layers.${layer}`;
    // One product for all three is faster than three, and needs the input quantized only once.
    await storeLinear(
      `${to}.qkv`,
      ['q', 'k', 'v'].map((kind) => `${from}.self_attn.${kind}_proj`),
    );
    await storeLinear(`${to}.o`, [`${from}.self_attn.o_proj`]);
    for (const kind of a.gated ? ['gate', 'up', 'down'] : ['up', 'down']) {
      await storeLinear(`${to}.${kind}`, [`${from}.mlp.${kind}_proj`]);
    }
    await storeNorm(`${to}.attention_norm`, `${from}.input_layernorm`);
    await storeNorm(`${to}.mlp_norm`, `${from}.post_attention_layernorm`);
    if (!a.queryKeyNorm) continue;
    for (const kind of ['q', 'k']) await storeNorm(`${to}.${kind}_norm`, `${from}.self_attn.${kind}_norm`);
  }
  await storeNorm('norm', 'model.norm');
  if (!a.tied) await precision.storeTable(file, 'head', take('lm_head.weight'));
}
