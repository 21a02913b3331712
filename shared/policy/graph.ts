// Writes a policy's two ONNX graphs and the one file of weights that both read. `model.onnx` is for other people's
// clients (transformers.js), `serve.onnx` for Attune's engine. The weights are stored once, in one layout for both.
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeOnnxModel } from '../onnx/model.ts';
import type { Architecture } from './architecture.ts';
import { buildModelGraph } from './graph-model.ts';
import { float32, type Precision } from './graph-precision.ts';
import { buildServeGraph } from './graph-serve.ts';
import { WeightFile } from './graph-weights.ts';
import type { Tensor, Weights } from './safetensors.ts';

const DATA_FILE = 'model.onnx_data';

/** Writes onnx/model.onnx, onnx/serve.onnx and onnx/model.onnx_data into a policy's folder; all on disk on return. */
export async function writePolicyGraphs(folder: string, architecture: Architecture, weights: Weights): Promise<void> {
  const precision = float32;
  const onnx = join(folder, 'onnx');
  await mkdir(onnx, { recursive: true });
  const file = await WeightFile.create(join(onnx, DATA_FILE), DATA_FILE);
  try {
    await storeWeights(file, architecture, weights, precision);
  } finally {
    await file.close();
  }
  const graphs = {
    'model.onnx': buildModelGraph(architecture, file.initializers, precision),
    'serve.onnx': buildServeGraph(architecture, file.initializers, precision),
  };
  for (const [name, graph] of Object.entries(graphs)) {
    await writeFile(join(onnx, name), writeOnnxModel(graph), { flush: true });
  }
  const directory = await open(onnx, 'r');
  await directory.sync();
  await directory.close();
}

async function storeWeights(file: WeightFile, a: Architecture, weights: Weights, precision: Precision): Promise<void> {
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
