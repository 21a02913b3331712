// Policies in GGUF files of every tensor type and family are the policies that llama.cpp runs: same tokens of a text, same
// greedy continuation.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Tensor } from 'onnxruntime-node';
import type { GgufMetadata } from '../../../testing/gguf-header.ts';
import { type GgufOptions, writeGguf } from '../../../testing/gguf-writer.ts';
import { closeLlama, openLlamaModel } from '../../../testing/llama-cpp.ts';
import { tinyArchitecture, tinyWeights } from '../../../testing/tiny-checkpoint.ts';
import { Decoder } from '../../decoder/decoder.ts';
import { openSession } from '../../decoder/session.ts';
import { type Architecture, FAMILY_NAMES } from '../../model/architecture.ts';
import { type OpenCheckpoint, openCheckpoint } from '../../model/checkpoint.ts';
import { elementCount, readTensor } from '../../model/tensor.ts';
import { float32 } from '../../onnx/precision/float32.ts';
import { SERVE_GRAPH, writeServingGraph } from '../../onnx/write-graphs.ts';
import { mulberry32 } from '../../random.ts';
import { Tokenizer } from '../../tokenizer/tokenizer.ts';
import { writeDefaultCheckpoint } from '../convert-llama2c.ts';
import { openGgufCheckpoint } from './checkpoint.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-gguf-'));
after(async () => {
  await closeLlama();
  await rm(root, { recursive: true, force: true });
});

const PROMPT = [1, 40, 7, 262, 299, 12, 300];

async function write(name: string, a: Architecture, weights: OpenCheckpoint['weights'], options: GgufOptions) {
  const folder = join(root, name);
  await mkdir(folder);
  const path = join(folder, `${name}.gguf`);
  await writeGguf(path, a, weights, options);
  return { path, folder, checkpoint: await openGgufCheckpoint(path, folder) };
}

/**
 * How much less likely than the likeliest token each token of llama.cpp's greedy continuation is to the imported policy, in
 * standard deviations of the logits: 0 for the likeliest one.
 */
async function compareGreedily(path: string, folder: string, { architecture, weights }: OpenCheckpoint, ids: number[]) {
  const model = await openLlamaModel(path);
  const theirs = await model.continueGreedily(ids, 16);
  await model.close();
  await writeServingGraph(folder, architecture, weights, float32);
  const decoder = new Decoder(await openSession(join(folder, SERVE_GRAPH), 1), Tensor, architecture);
  const cache = decoder.createCache();
  cache.addRow();
  const losses: number[] = [];
  let next = ids;
  for (const token of theirs) {
    const { logits } = await decoder.forward(cache, [next]);
    const mean = logits.reduce((sum, x) => sum + x, 0) / logits.length;
    const deviation = Math.sqrt(logits.reduce((sum, x) => sum + (x - mean) ** 2, 0) / logits.length);
    losses.push((Math.max(...logits) - logits[token]!) / deviation);
    next = [token];
  }
  await decoder.release();
  return losses;
}

const SAME_TOKENS = Array.from({ length: 16 }, () => 0);

for (const family of FAMILY_NAMES.filter((name) => name !== 'mistral')) {
  test(`${family}: llama.cpp continues a prompt with the same tokens`, async () => {
    const a = tinyArchitecture({ family, tied: family === 'gemma' || family === 'gpt2', layers: 3, hiddenSize: 64 });
    const { path, folder, checkpoint } = await write(family, a, tinyWeights(a, 5), {});
    assert.deepEqual(checkpoint.architecture, a);
    assert.deepEqual(await compareGreedily(path, folder, checkpoint, PROMPT), SAME_TOKENS);
  });
}

/** Types by ggml's number: values and bytes of a block, where its scale d and its offset m are, and m / d. */
const BLOCKS = {
  Q4_0: { typeId: 2, values: 32, bytes: 18, d: 0, size: 5 },
  Q4_1: { typeId: 3, values: 32, bytes: 20, d: 0, size: 5, m: 2, offset: -7.5 },
  Q5_0: { typeId: 6, values: 32, bytes: 22, d: 0, size: 9 },
  Q5_1: { typeId: 7, values: 32, bytes: 24, d: 0, size: 9, m: 2, offset: -15.5 },
  Q8_0: { typeId: 8, values: 32, bytes: 34, d: 0, size: 74 },
  Q2_K: { typeId: 10, values: 256, bytes: 84, d: 80, size: 15, m: 82, offset: 1.5 },
  Q3_K: { typeId: 11, values: 256, bytes: 110, d: 108, size: 43 },
  Q4_K: { typeId: 12, values: 256, bytes: 144, d: 0, size: 250, m: 2, offset: 7.5 },
  Q5_K: { typeId: 13, values: 256, bytes: 176, d: 0, size: 500, m: 2, offset: 15.5 },
  Q6_K: { typeId: 14, values: 256, bytes: 210, d: 208, size: 1350 },
};

for (const [name, block] of Object.entries(BLOCKS)) {
  test(`${name}: llama.cpp continues a prompt with the same tokens`, async () => {
    const a = tinyArchitecture({ hiddenSize: 256, intermediateSize: 256, heads: 2, tied: false });
    const random = mulberry32(6);
    // Any bytes are a block; only its scale and offset must be of the usual size, 1 / √256.
    const { path, folder, checkpoint } = await write(name, a, tinyWeights(a, 6), {
      encode(_, shape) {
        if (shape.length === 1) return;
        const bytes = new Uint8Array((elementCount(shape) / block.values) * block.bytes).map(() => 256 * random());
        const view = new DataView(bytes.buffer);
        for (let at = 0; at < bytes.length; at += block.bytes) {
          const d = 1 / 16 / block.size;
          view.setFloat16(at + block.d, d, true);
          if ('m' in block) view.setFloat16(at + block.m, d * block.offset, true);
        }
        return { typeId: block.typeId, bytes };
      },
    });
    // llama.cpp rounds activations to 8 bits, so two tokens that are about as likely may change places.
    const losses = await compareGreedily(path, folder, checkpoint, PROMPT);
    assert.ok(Math.max(...losses) < 0.1, losses.join());
    assert.ok(losses.filter((loss) => loss === 0).length >= 12, losses.join());
  });
}

for (const [name, typeId] of [
  ['F16', 1],
  ['BF16', 30],
] as const) {
  test(`${name}: the weights are read exactly`, async () => {
    const a = tinyArchitecture({ tied: false });
    const weights = tinyWeights(a, 7);
    const { checkpoint } = await write(name, a, weights, {
      encode(stored, shape) {
        if (stored !== 'token_embd.weight') return;
        const halves = new Uint16Array(elementCount(shape)).fill(typeId === 1 ? 0x3555 : 0x3eab);
        return { typeId, bytes: new Uint8Array(halves.buffer) };
      },
    });
    const { data } = await readTensor(checkpoint.weights.get('model.embed_tokens.weight')!);
    assert.deepEqual(new Set(data), new Set([name === 'F16' ? 0.333251953125 : 0.333984375]));
    assert.deepEqual(
      (await readTensor(checkpoint.weights.get('lm_head.weight')!)).data,
      weights.get('lm_head.weight')!.data,
    );
  });
}

for (const type of ['F32', 'Q8_0', 'Q4_0'] as const) {
  test(`stories15M in ${type}: llama.cpp tokenizes and continues a story in the same way`, async () => {
    const source = join(root, `stories-${type}`);
    await writeDefaultCheckpoint(source);
    const { architecture, weights } = await openCheckpoint(source);
    const json = JSON.parse(await readFile(join(source, 'tokenizer.json'), 'utf8'));
    const { path, folder, checkpoint } = await write(`stories15M-${type}`, architecture, weights, {
      type,
      metadata: describePieces(json),
    });
    const original = await Tokenizer.open(source);
    const imported = await Tokenizer.open(folder);
    const model = await openLlamaModel(path);
    for (const text of TEXTS) {
      assert.deepEqual(imported.encode(text), model.tokenize(text), JSON.stringify(text));
      assert.deepEqual(imported.encode(text), original.encode(text), JSON.stringify(text));
      assert.equal(imported.decode(imported.encode(text)), original.decode(original.encode(text)));
    }
    await model.close();
    assert.equal(imported.bos, 1);
    const losses = await compareGreedily(
      path,
      folder,
      checkpoint,
      imported.encode('Once upon a time, there was a fox'),
    );
    assert.ok(Math.max(...losses) < (type === 'F32' ? 1e-9 : 0.05), losses.join());
  });
}

const TEXTS = [
  'Once upon a time',
  '  two  spaces\n\nand\ttabs ',
  'naïve café — 日本語 🦊',
  "it's 3.14, isn't it?",
  '</s> is a token',
  '',
];

/** The metadata of a sentencepiece tokenizer, from the tokenizer.json made of one. */
function describePieces(json: { model: { vocab: Record<string, number>; merges: string[] } }): GgufMetadata {
  const { vocab, merges } = json.model;
  const ranks = new Map(merges.toReversed().map((merge, i) => [merge.replace(' ', ''), i - merges.length]));
  const tokens = Object.entries(vocab).sort((a, b) => a[1] - b[1]);
  return {
    'tokenizer.ggml.model': ['text', 'llama'],
    'tokenizer.ggml.tokens': ['texts', tokens.map(([token]) => token)],
    'tokenizer.ggml.scores': ['f32s', tokens.map(([token, id]) => ranks.get(token) ?? -merges.length - id)],
    'tokenizer.ggml.token_type': [
      'i32s',
      tokens.map(([token, id]) => (id === 0 ? 2 : id < 3 ? 3 : /^<0x..>$/.test(token) ? 6 : 1)),
    ],
    'tokenizer.ggml.unknown_token_id': ['u32', 0],
  };
}
