// A checkpoint small enough to train and serve in milliseconds, for tests: random, of any family, with a real tokenizer.
// Its weights depend on nothing but the seed, so that numbers in tests stay what they are.
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
import type { Weights } from '../shared/model/safetensors.ts';
import { mulberry32 } from '../shared/random.ts';
import { buildTokenizerJson, nameByte, type Piece } from '../shared/tokenizer/bpe.ts';

export type TinyOptions = {
  seed?: number;
  family?: FamilyName;
  /** Where it is not what the family usually has. */
  variant?: Partial<ArchitectureVariant>;
  layers?: number;
  hiddenSize?: number;
  intermediateSize?: number;
  heads?: number;
  kvHeads?: number;
  headDim?: number;
  /** At least as many as the tokenizer has; more are rows that no text uses, as real checkpoints have them too. */
  vocabSize?: number;
  contextLength?: number;
  tied?: boolean;
  chatTemplate?: string;
};

/** <unk>, <s>, </s>, 256 bytes, the characters of plain English, and some merges of the commonest words. */
export function tinyPieces(): Piece[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => nameByte(byte));
  const characters = Array.from(' abcdefghijklmnopqrstuvwxyz.,!?\'"OTI');
  const merges = [
    ...[' t', 'he', ' a', ' s', ' w', 'in', 'nd', 'on', 'er', ' o', 'ou', ' the', ' and', 'ed', ' b', ' h', 'is'],
    ...['it', ' to', ' was', 'at', ' he', ' she', ' in', ' O', 'ce', ' On', ' Once', ' u', ' up', ' upon', ' ti', 'me'],
    ...[' time', 'll', ' d', ' l', 'ing', ' day', ' f', ' m', ' c', 're', ' re', 'ar'],
  ];
  return ['<unk>', '<s>', '</s>', ...bytes, ...characters, ...merges].map((text, id) => ({ text, score: -id }));
}

const BIASED = { qkv: true, output: true, mlp: true };
const USUAL: Record<FamilyName, Partial<ArchitectureVariant>> = {
  llama: {},
  mistral: {},
  qwen2: { biases: { qkv: true, output: false, mlp: false } },
  qwen3: { queryKeyNorm: true },
  gpt2: { norm: 'layer', activation: 'gelu_tanh', gated: false, biases: BIASED, positions: 'learned' },
  gpt_neox: {
    norm: 'layer',
    activation: 'gelu',
    gated: false,
    biases: BIASED,
    rotaryShare: 0.25,
    parallelResidual: true,
  },
  gemma: { activation: 'gelu_tanh' },
};

export function tinyArchitecture(options: TinyOptions = {}): Architecture {
  const family = options.family ?? 'llama';
  const heads = options.heads ?? 4;
  const isGrouped = family !== 'gpt2' && family !== 'gpt_neox';
  const hiddenSize = options.hiddenSize ?? 32;
  return {
    ...LLAMA,
    family,
    ...USUAL[family],
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
 * Random weights at the scale of a freshly initialized model; norms differ from 1 and biases from 0, so that a forgotten
 * one shows.
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

/** Writes a whole checkpoint folder and returns what is in it. */
export async function writeTinyCheckpoint(
  folder: string,
  options: TinyOptions = {},
): Promise<{ architecture: Architecture; weights: Weights }> {
  const architecture = tinyArchitecture(options);
  const weights = tinyWeights(architecture, options.seed);
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

/** Normal numbers by Box and Muller. */
function seededNormal(seed: number): () => number {
  const uniform = mulberry32(seed);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
