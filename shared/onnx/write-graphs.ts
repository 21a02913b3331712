// Writes a package's ONNX graphs with their weights. A policy has two: `model.onnx` for other clients (transformers.js),
// `serve.onnx` for Attune's engine; at float32 both share one external data file. A reward has one: `reward.onnx`.
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Architecture, REWARD_HEAD, rotaryDims } from '../model/architecture.ts';
import { concatRows } from '../model/matrix.ts';
import { rotaryTables } from '../model/rotary.ts';
import { ROTATED, rotateWeights } from '../model/rotated-weights.ts';
import { type LazyWeights, readTensor, type Tensor } from '../model/tensor.ts';
import type { PrecisionName } from '../precision-name.ts';
import { ExternalDataFile } from './external-data.ts';
import { buildModelGraph } from './model-graph.ts';
import { type OnnxGraph, writeOnnxModel } from './model-proto.ts';
import { float32 } from './precision/float32.ts';
import type { Precision } from './precision/precision.ts';
import { PRECISIONS } from './precision/precisions.ts';
import { buildRewardGraph } from './reward-graph.ts';
import { buildServingGraph } from './serving-graph.ts';
import { toUnsignedName } from './unsigned-name.ts';

const MODEL_DATA = 'model.onnx_data';
export const SERVE_GRAPH = 'serve.onnx';
const SERVE_DATA = 'serve.onnx_data';
/** The float32 serving graph of a policy that is served at another precision; its weights are MODEL_DATA. */
export const SCORE_GRAPH = 'score.onnx';
export const REWARD_GRAPH = 'reward.onnx';
const REWARD_DATA = 'reward.onnx_data';

/** Writes onnx/model.onnx (always float32), onnx/serve.onnx and their weights into a policy's folder, fsynced. */
export async function writePolicyGraphs(
  folder: string,
  architecture: Architecture,
  weights: LazyWeights,
  precision: PrecisionName = 'fp32',
): Promise<void> {
  const onnx = join(folder, 'onnx');
  await mkdir(onnx, { recursive: true });
  const float32Weights = await writeWeights(onnx, MODEL_DATA, architecture, weights, float32);
  await writeGraph(onnx, 'model.onnx', buildModelGraph(architecture, float32Weights));
  if (precision === 'fp32')
    await writeGraph(onnx, SERVE_GRAPH, buildServingGraph(architecture, float32Weights, float32));
  else await writeServingGraph(onnx, architecture, weights, PRECISIONS[precision]);
}

/** Writes serve.onnx with its own external data file into a folder, replacing existing ones. */
export async function writeServingGraph(
  onnx: string,
  architecture: Architecture,
  weights: LazyWeights,
  precision: Precision,
): Promise<void> {
  await mkdir(onnx, { recursive: true });
  const stored = await writeWeights(onnx, SERVE_DATA, architecture, weights, precision);
  await writeGraph(onnx, SERVE_GRAPH, buildServingGraph(architecture, stored, precision));
  const { unsigned } = precision;
  if (unsigned) await writeGraph(onnx, toUnsignedName(SERVE_GRAPH), buildServingGraph(architecture, stored, unsigned));
}

/** Writes onnx/reward.onnx (always float32) and its weights into a reward's folder, fsynced. */
export async function writeRewardGraph(
  folder: string,
  architecture: Architecture,
  weights: LazyWeights,
): Promise<void> {
  const onnx = join(folder, 'onnx');
  await mkdir(onnx, { recursive: true });
  const stored = await writeWeights(onnx, REWARD_DATA, architecture, weights, float32);
  await writeGraph(onnx, REWARD_GRAPH, buildRewardGraph(architecture, stored));
}

async function writeGraph(onnx: string, name: string, graph: OnnxGraph): Promise<void> {
  await writeFile(join(onnx, name), writeOnnxModel(graph), { flush: true });
  const directory = await open(onnx, 'r');
  await directory.sync();
  await directory.close();
}

async function writeWeights(
  onnx: string,
  location: string,
  architecture: Architecture,
  weights: LazyWeights,
  precision: Precision,
): Promise<ExternalDataFile['initializers']> {
  const file = await ExternalDataFile.create(join(onnx, location), location);
  try {
    const stored = precision.isRotated ? rotateWeights(architecture, weights) : weights;
    await writeTensors(file, architecture, stored, precision);
  } finally {
    await file.close();
  }
  return file.initializers;
}

async function writeTensors(
  file: ExternalDataFile,
  a: Architecture,
  weights: LazyWeights,
  precision: Precision,
): Promise<void> {
  const getTensor = (name: string) => {
    const tensor = weights.get(name);
    if (!tensor) throw new Error(`internal: graph: weight ${name} is missing`);
    return readTensor(tensor);
  };
  const writeFloat32 = async (name: string, { shape, data }: Tensor) => file.write(name, 'float32', shape, data);
  const writeNorm = async (name: string, from: string) => {
    await writeFloat32(name, await getTensor(`${from}.weight`));
    if (weights.has(`${from}.bias`)) await writeFloat32(`${name}.bias`, await getTensor(`${from}.bias`));
  };
  const writeLinear = async (name: string, from: string[]) => {
    const concat = async (names: string[]) => concatRows(await Promise.all(names.map(getTensor)));
    await precision.writeLinear(file, name, await concat(from.map((part) => `${part}.weight`)));
    const biases = from.map((part) => `${part}.bias`).filter((bias) => weights.has(bias));
    if (biases.length > 0) await writeFloat32(`${name}.bias`, await concat(biases));
  };

  await precision.writeEmbedding(file, 'embed', await getTensor('model.embed_tokens.weight'));
  if (a.positions === 'learned') await writeFloat32('positions', await getTensor('model.embed_positions.weight'));
  else {
    for (const [name, table] of Object.entries(rotaryTables(a, a.contextLength))) {
      await file.write(`rotary.${name}`, 'float32', [a.contextLength, rotaryDims(a) / 2], table);
    }
  }
  for (let layer = 0; layer < a.layers; layer++) {
    const from = `model.layers.${layer}`;
    const to = `layers.${layer}`;
    // One product for all three is faster, and quantizes the input only once.
    await writeLinear(
      `${to}.qkv`,
      ['q', 'k', 'v'].map((kind) => `${from}.self_attn.${kind}_proj`),
    );
    await writeLinear(`${to}.o`, [`${from}.self_attn.o_proj`]);
    for (const kind of a.gated ? ['gate', 'up', 'down'] : ['up', 'down']) {
      await writeLinear(`${to}.${kind}`, [`${from}.mlp.${kind}_proj`]);
    }
    if (!precision.isRotated) {
      await writeNorm(`${to}.attention_norm`, `${from}.input_layernorm`);
      await writeNorm(`${to}.mlp_norm`, `${from}.post_attention_layernorm`);
    }
    if (!a.queryKeyNorm) continue;
    for (const kind of ['q', 'k']) await writeNorm(`${to}.${kind}_norm`, `${from}.self_attn.${kind}_norm`);
  }
  if (precision.isRotated) {
    for (const name of Object.values(ROTATED)) if (weights.has(name)) await writeFloat32(name, await getTensor(name));
  } else await writeNorm('norm', 'model.norm');
  if (a.output === 'reward') await writeFloat32('reward', await getTensor(REWARD_HEAD));
  else if (!a.tied) await precision.writeEmbedding(file, 'head', await getTensor('lm_head.weight'));
}
