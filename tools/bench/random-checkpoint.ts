// Writes a checkpoint of a given shape with random weights at the scale of trained ones, and a tokenizer of that size.
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { seedRandom } from '../../shared/decoder/random.ts';
import { type Architecture, LLAMA, weightShapes } from '../../shared/model/architecture.ts';
import { writeCheckpoint, writeJson } from '../../shared/model/checkpoint.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { buildTokenizerJson, formatByteToken, type Piece } from '../../shared/tokenizer/bpe.ts';

export const SMOLLM2_135M: Architecture = {
  ...LLAMA,
  hiddenSize: 576,
  intermediateSize: 1536,
  layers: 30,
  heads: 9,
  kvHeads: 3,
  headDim: 64,
  vocabSize: 49152,
  contextLength: 2048,
  normEpsilon: 1e-5,
  ropeTheta: 100000,
  tied: true,
  bos: 1,
  eos: [2],
};

/** Standard deviation of a weight times √inputs, as in trained models of this size. */
const WEIGHT_SCALE = 0.7;

export async function writeRandomCheckpoint(folder: string, architecture: Architecture, seed: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  const pieces = makePieces(architecture.vocabSize);
  await writeFile(path.join(folder, 'tokenizer.json'), JSON.stringify(buildTokenizerJson(pieces)));
  await writeJson(path.join(folder, 'tokenizer_config.json'), {
    tokenizer_class: 'LlamaTokenizer',
    bos_token: '<s>',
    eos_token: '</s>',
    unk_token: '<unk>',
    clean_up_tokenization_spaces: false,
    model_max_length: architecture.contextLength,
  });
  await writeCheckpoint(folder, { architecture, weights: randomWeights(architecture, seed) });
}

function randomWeights(architecture: Architecture, seed: number): Weights {
  const weights: Weights = new Map();
  let stream = 0;
  for (const [name, shape] of weightShapes(architecture)) {
    const data = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
    if (shape.length === 1) data.fill(1);
    else fillNormal(data, WEIGHT_SCALE / Math.sqrt(shape[1]!), seedRandom(seed, stream++));
    weights.set(name, { shape, data });
  }
  return weights;
}

/** Box–Muller, using both numbers of each pair. */
function fillNormal(data: Float32Array, deviation: number, uniform: () => number): void {
  for (let i = 0; i < data.length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    data[i] = radius * Math.cos(angle);
    if (i + 1 < data.length) data[i + 1] = radius * Math.sin(angle);
  }
}

/** All words of one letter, of two, of three, with and without a leading space, until `count` pieces exist. */
function makePieces(count: number): Piece[] {
  const letters = Array.from('abcdefghijklmnopqrstuvwxyz');
  const texts = [
    '<unk>',
    '<s>',
    '</s>',
    ...Array.from({ length: 256 }, (_, byte) => formatByteToken(byte)),
    ' ',
    ...letters,
  ];
  let words = letters;
  while (texts.length < count) {
    const spaced = words.map((word) => ` ${word}`);
    words = words.flatMap((word) => letters.map((letter) => word + letter));
    // Not spread into one push: the arguments of a call must fit the stack.
    for (const text of spaced) texts.push(text);
    for (const text of words) texts.push(text);
  }
  return texts.slice(0, count).map((text, id) => ({ text, score: -id }));
}
