// A random checkpoint of any family, small enough to train and serve in milliseconds, with a working tokenizer. Its weights
// depend only on the seed, so that expected numbers in tests stay valid.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Architecture,
  type ArchitectureVariant,
  type FamilyName,
  LLAMA,
  weightShapes,
} from '../shared/model/architecture.ts';
import { writeCheckpoint, writeJson } from '../shared/model/checkpoint.ts';
import type { Weights } from '../shared/model/tensor.ts';
import { mulberry32 } from '../shared/random.ts';
import { buildTokenizerJson, formatByteToken, type Piece } from '../shared/tokenizer/bpe.ts';

export type TinyCheckpointOptions = {
  seed?: number;
  family?: FamilyName;
  /** Overrides of the family's usual architecture. */
  variant?: Partial<ArchitectureVariant>;
  layers?: number;
  hiddenSize?: number;
  intermediateSize?: number;
  heads?: number;
  kvHeads?: number;
  headDim?: number;
  /** At least the tokenizer's size; further rows are unused, as in real checkpoints. */
  vocabSize?: number;
  contextLength?: number;
  tied?: boolean;
  chatTemplate?: string;
  /** The only pieces that it generates, about as often as each other, so that raters can tell what they prefer. */
  says?: string[];
};

/** <unk>, <s>, </s>, 256 bytes, the characters of plain English, and merges for some common words. */
export function tinyPieces(): Piece[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => formatByteToken(byte));
  const characters = Array.from(' abcdefghijklmnopqrstuvwxyz.,!?\'"OTI');
  const merges = [
    ...[' t', 'he', ' a', ' s', ' w', 'in', 'nd', 'on', 'er', ' o', 'ou', ' the', ' and', 'ed', ' b', ' h', 'is'],
    ...['it', ' to', ' was', 'at', ' he', ' she', ' in', ' O', 'ce', ' On', ' Once', ' u', ' up', ' upon', ' ti', 'me'],
    ...[' time', 'll', ' d', ' l', 'ing', ' day', ' f', ' m', ' c', 're', ' re', 'ar'],
  ];
  return ['<unk>', '<s>', '</s>', ...bytes, ...characters, ...merges].map((text, id) => ({ text, score: -id }));
}

const ALL_BIASES = { qkv: true, output: true, mlp: true };
const FAMILY_VARIANTS: Record<FamilyName, Partial<ArchitectureVariant>> = {
  llama: {},
  mistral: {},
  qwen2: { biases: { qkv: true, output: false, mlp: false } },
  qwen3: { queryKeyNorm: true },
  gpt2: { norm: 'layer', activation: 'gelu_tanh', gated: false, biases: ALL_BIASES, positions: 'learned' },
  gpt_neox: {
    norm: 'layer',
    activation: 'gelu',
    gated: false,
    biases: ALL_BIASES,
    rotaryShare: 0.25,
    parallelResidual: true,
  },
  gemma: { activation: 'gelu_tanh' },
};

export function tinyArchitecture(options: TinyCheckpointOptions = {}): Architecture {
  const family = options.family ?? 'llama';
  const heads = options.heads ?? 4;
  const isGrouped = family !== 'gpt2' && family !== 'gpt_neox';
  const hiddenSize = options.hiddenSize ?? 32;
  return {
    ...LLAMA,
    family,
    ...FAMILY_VARIANTS[family],
    embeddingScale: family === 'gemma' ? Math.sqrt(hiddenSize) : 1,
    ...options.variant,
    hiddenSize,
    intermediateSize: options.intermediateSize ?? 64,
    layers: options.layers ?? 2,
    heads,
    kvHeads: options.kvHeads ?? (isGrouped ? 2 : heads),
    headDim: options.headDim ?? hiddenSize / heads,
    vocabSize: options.vocabSize ?? tinyPieces().length,
    contextLength: options.contextLength ?? 128,
    normEpsilon: 1e-5,
    ropeTheta: 10000,
    tied: options.tied ?? true,
    bos: 1,
    eos: [2],
  };
}

/**
 * Random weights at the scale of a freshly initialized model. Norms differ from 1 and biases from 0, so that tests detect
 * a missing one.
 */
export function tinyWeights(architecture: Architecture, seed = 1): Weights {
  const random = seededNormal(seed);
  const weights: Weights = new Map();
  for (const [name, shape] of weightShapes(architecture)) {
    const data = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
    const isNorm = name.endsWith('norm.weight');
    const scale = shape.length === 1 ? 0.1 : 1 / Math.sqrt(shape.at(-1)!);
    for (let i = 0; i < data.length; i++) data[i] = (isNorm ? 1 : 0) + scale * random();
    weights.set(name, { shape, data });
  }
  return weights;
}

/** By a constant in the last norm's output, which the rows of these pieces have a product with, and those of others less. */
function restrict(weights: Weights, says: string[]): void {
  const [bias, head] = ['model.norm.bias', 'lm_head.weight'].map((name) => weights.get(name));
  if (!bias || !head) throw new Error('internal: it needs a family with LayerNorm, and tied: false');
  bias.data.fill(2);
  const [, width] = head.shape as [number, number];
  const said = new Set(says);
  for (const [id, { text }] of tinyPieces().entries()) {
    const row = head.data.subarray(id * width, (id + 1) * width);
    const [sign, mean] = [said.has(text) ? 1 : -1, row.reduce((sum, value) => sum + value, 0) / width];
    for (let at = 0; at < width; at++) row[at] = row[at]! - mean + sign * 0.3;
  }
}

/** Writes a complete checkpoint folder and returns its architecture and weights. */
export async function writeTinyCheckpoint(
  folder: string,
  options: TinyCheckpointOptions = {},
): Promise<{ architecture: Architecture; weights: Weights }> {
  const architecture = tinyArchitecture(options);
  const weights = tinyWeights(architecture, options.seed);
  if (options.says) restrict(weights, options.says);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(buildTokenizerJson(tinyPieces())));
  await writeJson(join(folder, 'tokenizer_config.json'), {
    tokenizer_class: 'LlamaTokenizer',
    bos_token: '<s>',
    eos_token: '</s>',
    unk_token: '<unk>',
    clean_up_tokenization_spaces: false,
    model_max_length: architecture.contextLength,
    ...(options.chatTemplate === undefined ? {} : { chat_template: options.chatTemplate }),
  });
  await writeCheckpoint(folder, { architecture, weights });
  return { architecture, weights };
}

/** Normally distributed numbers (Box–Muller). */
function seededNormal(seed: number): () => number {
  const uniform = mulberry32(seed);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
