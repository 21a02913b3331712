// Byte-level tokenizers in GGUF files split and merge texts as llama.cpp does, whichever pre-tokenizer they name.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { GgufMetadata } from '../../../testing/gguf-header.ts';
import { writeGguf } from '../../../testing/gguf-writer.ts';
import { closeLlama, openLlamaModel } from '../../../testing/llama-cpp.ts';
import { tinyArchitecture, tinyWeights } from '../../../testing/tiny-checkpoint.ts';
import { AttuneError } from '../../error.ts';
import { Tokenizer } from '../../tokenizer/tokenizer.ts';
import { openGgufCheckpoint } from './checkpoint.ts';
import { PRE_TOKENIZERS } from './pre-tokenizers.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-gguf-tokenizer-'));
after(async () => {
  await closeLlama();
  await rm(root, { recursive: true, force: true });
});

const TEXTS = [
  'Hello world, HELLO WORLD',
  "It's IT'S 3.14, 12345 and ٣٤٥ ½",
  '  two  spaces\n\n\n\tand  tabs \r\n ',
  'naïve café — 日本語 🦊 a\u0301!?…\n',
  'hi<|begin|>hello<|end|>\nhello<|user|>',
  'def f(x):\n    return x + 1\n\n',
  '',
];

/** The letters of all bytes; the merges of some words; special tokens. */
function describeByteLevel(pre: string): GgufMetadata {
  const printable = [...range(0x21, 0x7e), ...range(0xa1, 0xac), ...range(0xae, 0xff)];
  const others = [...range(0, 255)].filter((byte) => !printable.includes(byte));
  const letters = [...printable.map((byte) => String.fromCodePoint(byte)), ...others.map((_, i) => letter(256 + i))];
  const merges = [
    'h e',
    'l l',
    'he ll',
    'hell o',
    'Ġ w',
    'o r',
    'l d',
    'Ġw or',
    'Ġwor ld',
    'H E',
    '1 2',
    '12 3',
    '3 4',
  ];
  merges.push('Ġ Ġ', 'Ċ Ċ', 'e t', 'r et', "' s", 'Ġ a', 'n d', 'Ġa nd', 'Ã ©', 'ð Ł', 'I t', "It 's", 'ĠĠ Ġ');
  const special = ['<|begin|>', '<|end|>', '<|user|>', '[PAD0]'];
  const tokens = [...letters, ...merges.map((merge) => merge.replace(' ', '')), ...special];
  const types: Record<string, number> = { '<|begin|>': 3, '<|end|>': 3, '<|user|>': 4, '[PAD0]': 5 };
  return {
    'tokenizer.ggml.model': ['text', 'gpt2'],
    'tokenizer.ggml.pre': ['text', pre],
    'tokenizer.ggml.tokens': ['texts', tokens],
    'tokenizer.ggml.token_type': ['i32s', tokens.map((token) => types[token] ?? 1)],
    'tokenizer.ggml.merges': ['texts', merges],
    'tokenizer.ggml.bos_token_id': ['u32', tokens.indexOf('<|begin|>')],
    'tokenizer.ggml.eos_token_id': ['u32', tokens.indexOf('<|end|>')],
    'tokenizer.chat_template': ['text', '{{ bos_token }}{{ messages[0].content }}<|end|>'],
  };
}

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const letter = (code: number) => String.fromCodePoint(code);

async function open(name: string, metadata: GgufMetadata) {
  const tokens = metadata['tokenizer.ggml.tokens']![1] as string[];
  const a = tinyArchitecture({ vocabSize: tokens.length });
  const folder = join(root, name);
  await mkdir(folder);
  const path = join(folder, 'model.gguf');
  await writeGguf(path, a, tinyWeights(a), { metadata });
  const { architecture } = await openGgufCheckpoint(path, folder);
  return { path, architecture, tokenizer: await Tokenizer.open(folder), tokens };
}

for (const { names, isComposed } of PRE_TOKENIZERS) {
  test(`${names.join(', ')}: llama.cpp tokenizes in the same way`, async () => {
    for (const pre of names) {
      const { path, tokenizer } = await open(pre, describeByteLevel(pre));
      const model = await openLlamaModel(path);
      for (const text of TEXTS) {
        const composed = isComposed ? text.normalize('NFC') : text;
        const ids = tokenizer.encode(text);
        assert.deepEqual(ids, model.tokenize(composed), JSON.stringify([pre, text]));
        assert.equal(tokenizer.decode(tokenizer.encode(text, { special: false }), { special: true }), composed);
      }
      await model.close();
    }
  });
}

test('special tokens and the chat template are those of the metadata', async () => {
  const { architecture, tokenizer, tokens } = await open('special', {
    ...describeByteLevel('gpt-2'),
    'tokenizer.ggml.add_bos_token': ['bool', true],
    'tokenizer.ggml.eot_token_id': ['u32', 65],
  });
  const [begin, end, user, unused] = ['<|begin|>', '<|end|>', '<|user|>', '[PAD0]'].map((token) =>
    tokens.indexOf(token),
  );
  assert.equal(tokenizer.bos, begin);
  assert.deepEqual(tokenizer.eos, [end, 65]);
  assert.deepEqual([architecture.bos, architecture.eos], [begin, [end, 65]]);
  assert.deepEqual(tokenizer.encode('a'), [begin, tokens.indexOf('a')]);
  assert.deepEqual(
    [begin, user, unused].map((id) => tokenizer.isSpecial(id!)),
    [true, false, false],
  );
  // A token that only fills up the vocabulary is in no text and has none.
  assert.equal(tokenizer.decode([unused!]), '');
  assert.ok(!tokenizer.encode('[PAD0]').includes(unused!));
  assert.equal(tokenizer.renderChat([{ role: 'user', content: 'hello' }]), '<|begin|>hello<|end|>');
});

test('a tokenizer that Attune cannot read is refused by name', async () => {
  const metadata = describeByteLevel('gpt-2');
  const cases: [GgufMetadata, RegExp][] = [
    [
      { 'tokenizer.ggml.model': ['text', 'bert'] },
      /tokenizer\.ggml\.model is "bert"; Attune supports only gpt2 and llama/,
    ],
    [{ 'tokenizer.ggml.pre': ['text', 'tekken'] }, /tokenizer\.ggml\.pre is "tekken"; Attune supports only gpt-2, /],
    [{ 'tokenizer.ggml.model': ['text', 'llama'] }, /tokenizer\.ggml\.scores is missing/],
    [{ 'tokenizer.ggml.token_type': ['i32s', [1]] }, /tokenizer\.ggml\.token_type has 1 entries for 286 tokens/],
    [{ 'tokenizer.ggml.eos_token_id': ['u32', 286] }, /tokenizer\.ggml\.eos_token_id is 286, but .* has 286 tokens/],
    [
      { 'tokenizer.ggml.tokens': ['texts', Array.from({ length: 286 }, () => 'a')] },
      /tokenizer\.ggml\.tokens has "a" twice/,
    ],
    [{ 'tokenizer.ggml.merges': ['text', 'a b'] }, /tokenizer\.ggml\.merges: /],
  ];
  for (const [i, [change, message]] of cases.entries())
    await assert.rejects(open(`bad-${i}`, { ...metadata, ...change }), (error: Error) => {
      assert.ok(error instanceof AttuneError, error.stack);
      assert.match(error.message, message);
      return true;
    });
});
