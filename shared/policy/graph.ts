// Writes a policy's two ONNX graphs and the one file of weights that both read. `model.onnx` is for other people's
// clients (transformers.js), `serve.onnx` for Attune's engine. The weights are stored once, in one layout for both.
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type OnnxGraph, writeOnnxModel } from '../onnx/model.ts';
import type { Architecture } from './architecture.ts';
import { buildModelGraph } from './graph-model.ts';
import { buildServeGraph } from './graph-serve.ts';
import { WeightFile } from './graph-weights.ts';
import { float32 } from './precision/float32.ts';
import { type Precision, type PrecisionName, precisionOf } from './precision/precision.ts';
import type { Tensor, Weights } from './safetensors.ts';

const SHARED_DATA = 'model.onnx_data';
export const SERVE = 'serve.onnx';
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
  if (precision === 'fp32') await writeGraph(onnx, SERVE, buildServeGraph(architecture, shared, float32));
  else await writeServeGraph(onnx, architecture, weights, precision);
}

/** Writes serve.onnx and a file of weights for it alone into a folder; what has these names is replaced. */
export async function writeServeGraph(
  onnx: string,
  architecture: Architecture,
  weights: Weights,
  name: PrecisionName,
): Promise<void> {
  await mkdir(onnx, { recursive: true });
  const precision = precisionOf(name);
  const stored = await storeWeights(onnx, SERVE_DATA, architecture, weights, precision);
  await writeGraph(onnx, SERVE, buildServeGraph(architecture, stored, precision));
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
): Promise<WeightFile['initializers']> {
  const file = await WeightFile.create(join(onnx, location), location);
  try {
    await storeAll(file, architecture, weights, precision);
  } finally {
    await file.close();
  }
  return file.initializers;
}

async function storeAll(file: WeightFile, a: Architecture, weights: Weights, precision: Precision): Promise<void> {
  const take = (name: string) => {
    const tensor = weights.get(name);
    if (!tensor) throw new Error(`internal: graph: the weights have no ${name}`);
    return tensor;
  };
  const storeNorm = async (name: string, { shape, data }: Tensor) => file.store(name, 'float32', shape, data);

  await precision.storeTable(file, 'embed', take('model.embed_tokens.weight'));
  for (const [name, table] of Object.entries(rotaryTables(a))) {
    await file.store(`rotary.${name}`, 'float32', [a.contextLength, a.headDim / 2], table);
  }
  for (let layer = 0; layer < a.layers; layer++) {
    const from = `model.layers.${layer}`;
    const to = `layers.${layer}`;
    const attention = (kind: string) => take(`${from}.self_attn.${kind}_proj.weight`);
    // One product for all three is faster than three, and needs the input quantized only once.
    await precision.storeLinear(file, `${to}.qkv`, stackRows(['q', 'k', 'v'].map(attention)));
    await precision.storeLinear(file, `${to}.o`, attention('o'));
    for (const kind of ['gate', 'up', 'down']) {
      await precision.storeLinear(file, `${to}.${kind}`, take(`${from}.mlp.${kind}_proj.weight`));
    }
    await storeNorm(`${to}.attention_norm`, take(`${from}.input_layernorm.weight`));
    await storeNorm(`${to}.mlp_norm`, take(`${from}.post_attention_layernorm.weight`));
  }
  await storeNorm('norm', take('model.norm.weight'));
  if (!a.tied) await precision.storeTable(file, 'head', take('lm_head.weight'));
}

/** Cosines and sines [contextLength, headDim / 2] of every position's angles. */
function rotaryTables(a: Architecture): { cos: Float32Array; sin: Float32Array } {
  const half = a.headDim / 2;
  const cos = new Float32Array(a.contextLength * half);
  const sin = new Float32Array(a.contextLength * half);
  for (let position = 0; position < a.contextLength; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position * a.ropeTheta ** (-i / half);
      cos[position * half + i] = Math.cos(angle);
      sin[position * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** Tensors [rows, columns] on top of each other. */
function stackRows(tensors: Tensor[]): Tensor {
  const columns = tensors[0]!.shape[1]!;
  const rows = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const data = new Float32Array(rows * columns);
  let offset = 0;
  for (const tensor of tensors) {
    data.set(tensor.data, offset);
    offset += tensor.data.length;
  }
  return { shape: [rows, columns], data };
}
