import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { tinyPieces } from '../../testing/tiny-checkpoint.ts';
import { type Checkpoint, readCheckpoint } from '../model/checkpoint.ts';
import { IncrementalDetokenizer } from '../tokenizer/detokenizer.ts';
import { Tokenizer } from '../tokenizer/tokenizer.ts';
import { parseLlama2c, writeDefaultCheckpoint } from './convert-llama2c.ts';

let folder: string;
let stories: Checkpoint;
let tokenizer: Tokenizer;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'attune-stories-'));
  await writeDefaultCheckpoint(folder);
  stories = await readCheckpoint(folder);
  tokenizer = await Tokenizer.open(folder);
});
after(() => rm(folder, { recursive: true }));

test('stories15M has its known architecture and shapes', () => {
  const { hiddenSize, layers, heads, vocabSize, contextLength, tied, eos } = stories.architecture;
  assert.deepEqual([hiddenSize, layers, heads, vocabSize, contextLength], [288, 6, 6, 32000, 256]);
  assert(tied);
  assert.deepEqual(eos, [1, 2]);
  const parameters = [...stories.weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  assert.equal(parameters, 15_191_712);
});

test('stories15M has the tokenizer of Llama 2', () => {
  assert.deepEqual(tokenizer.encode('Once upon a time'), [1, 9038, 2501, 263, 931]);
  assert.deepEqual(tokenizer.encode('Hello world'), [1, 15043, 3186]);
  for (const text of ['Lily said, "Hi!"\n', '  two spaces', 'naïve \u{1F600} 日本', '\uFEFFmark']) {
    assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
  }
});

test('streams a story as the continuation of its prompt', () => {
  const promptIds = tokenizer.encode('Once upon a time');
  const stream = new IncrementalDetokenizer(tokenizer, promptIds);
  assert.deepEqual(
    [29892, 727, 471, 1].map((id) => stream.push(id)),
    [',', ' there', ' was', ''],
  );
  assert.equal(tokenizer.decodeContinuation(promptIds, [727, 471, 1]), ' there was');
});

test('training ends a story with BOS, as in its original training data', () => {
  assert.deepEqual(tokenizer.eos, [1, 2]);
  assert.equal(tokenizer.encodePair('Once', ' upon', { eos: true }).responseIds.at(-1), 1);
});

/** One layer, two heads of size 4, so that every row of wq can have its own value. */
function encodeLlama2c({ vocab = 5, cut = 0 } = {}): Uint8Array {
  const [dim, hidden, layers, heads, kvHeads, context] = [8, 4, 1, 2, 1, 3];
  const kv = (dim / heads) * kvHeads;
  const sizes = [
    5 * dim,
    dim,
    dim * dim,
    kv * dim,
    kv * dim,
    dim * dim,
    dim,
    hidden * dim,
    dim * hidden,
    hidden * dim,
    dim,
  ];
  const count = sizes.reduce((sum, size) => sum + size, 0) + context * (dim / heads) + (vocab < 0 ? 5 * dim : 0);
  const values = Float32Array.from({ length: count }, (_, i) => i);
  const header = Int32Array.of(dim, hidden, layers, heads, kvHeads, vocab, context);
  return Buffer.concat([Buffer.from(header.buffer), Buffer.from(values.buffer)]).subarray(0, 28 + count * 4 - cut);
}

test('permutes rotary pairs from adjacent rows to halves of each head', () => {
  const { weights } = parseLlama2c(encodeLlama2c());
  const q = weights.get('model.layers.0.self_attn.q_proj.weight')!;
  const rows = Array.from({ length: 8 }, (_, row) => (q.data[row * 8]! - 48) / 8);
  assert.deepEqual(rows, [0, 2, 1, 3, 4, 6, 5, 7]);
  assert.deepEqual(weights.get('model.layers.0.self_attn.k_proj.weight')!.shape, [4, 8]);
  assert(!weights.has('lm_head.weight'));
});

test('a negative vocabulary size means an untied output layer; a file of the wrong length is rejected', () => {
  assert.deepEqual(parseLlama2c(encodeLlama2c({ vocab: -5 })).weights.get('lm_head.weight')!.shape, [5, 8]);
  assert.throws(() => parseLlama2c(encodeLlama2c({ cut: 4 })), {
    name: 'AttuneError',
    message: /llama2\.c checkpoint: \d+ bytes, but the header requires/,
  });
  assert.throws(() => parseLlama2c(new Uint8Array(27)), /too few/);
  assert.throws(() => parseLlama2c(new Uint8Array(100)), /is not a valid Llama/);
});

test('the tiny tokenizer has no duplicate pieces', () => {
  const texts = tinyPieces().map(({ text }) => text);
  assert.equal(new Set(texts).size, texts.length);
});
