import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import type { ChatMessage } from '../chat-message.ts';
import { sha256 } from '../digest.ts';
import { writeJson } from '../model/checkpoint.ts';
import { IncrementalDetokenizer } from './detokenizer.ts';
import { Tokenizer } from './tokenizer.ts';

const TEXTS = [
  'Once upon a time',
  ' two  spaces and a trailing one ',
  'naïve café, 日本語, 👩‍👩‍👧 and \u{1F600}\u{1F600}',
  'tabs\tand\nnew lines\n\n',
  '\uFFFD is a character too',
  '',
];

let folder: string;
let tokenizer: Tokenizer;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'attune-tokenizer-'));
  await writeTinyCheckpoint(folder);
  tokenizer = await Tokenizer.open(folder);
});
after(() => rm(folder, { recursive: true }));

test('decoding an encoded text gives the text', () => {
  for (const text of TEXTS) assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
});

test('encodes BOS exactly once, even if the text starts with it', () => {
  const ids = tokenizer.encode('a day');
  assert.deepEqual(ids.slice(0, 2).filter((id) => id === 1).length, 1);
  assert.equal(ids[0], 1);
  assert.deepEqual(tokenizer.encode('<s>a day'), ids);
  assert.deepEqual(tokenizer.encode('a day', { special: false }), ids.slice(1));
  assert.deepEqual(tokenizer.encode(''), [1]);
  assert.equal(tokenizer.decode(ids, { special: true }), '<s> a day');
});

test('special tokens and unknown ids decode to nothing', () => {
  assert.equal(tokenizer.decode([]), '');
  assert.equal(tokenizer.decode([1, 2]), '');
  assert.equal(tokenizer.decode([...tokenizer.encode('a day'), 99999]), 'a day');
});

test('encodes a pair as one text and splits it where the prompt ends', () => {
  const { promptIds, responseIds } = tokenizer.encodePair('Once upon', ' a time', { eos: true });
  assert.deepEqual(promptIds, tokenizer.encode('Once upon'));
  assert.deepEqual([...promptIds, ...responseIds], [...tokenizer.encode('Once upon a time'), 2]);
  assert.deepEqual(tokenizer.encodePair('Once', '', { eos: false }).responseIds, []);
});

test('a token across the boundary belongs to the response', () => {
  const { promptIds, responseIds } = tokenizer.encodePair('Once upo', 'n a time', { eos: false });
  assert.deepEqual([...promptIds, ...responseIds], tokenizer.encode('Once upon a time'));
  assert(promptIds.length < tokenizer.encode('Once upo').length);
});

test('the incremental detokenizer returns exactly the continuation, and never half a character', () => {
  for (const prompt of ['', 'Once upon a time', 'ends in a space ', 'é']) {
    for (const text of TEXTS) {
      const promptIds = tokenizer.encode(prompt);
      const ids = tokenizer.encodePair(prompt, text, { eos: true }).responseIds;
      const detokenizer = new IncrementalDetokenizer(tokenizer, promptIds);
      const parts = ids.map((id) => detokenizer.push(id));
      if (text !== TEXTS[4]) assert(!parts.join('').includes('\uFFFD'), JSON.stringify(parts));
      parts.push(detokenizer.finish());
      assert.equal(parts.join(''), tokenizer.decodeContinuation(promptIds, ids));
      assert.equal(detokenizer.finish(), '');
    }
  }
});

test('incremental texts of arbitrary tokens, invalid UTF-8 included, add up to the decoded text', () => {
  let state = 7;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let run = 0; run < 200; run++) {
    const randomToken = () => (random() < 0.4 ? 3 + Math.floor(random() * 256) : Math.floor(random() * 339));
    const promptIds = Array.from({ length: Math.floor(random() * 12) }, randomToken);
    const ids = Array.from({ length: 30 }, randomToken);
    const detokenizer = new IncrementalDetokenizer(tokenizer, promptIds);
    const text = ids.map((id) => detokenizer.push(id)).join('') + detokenizer.finish();
    assert.equal(text, tokenizer.decodeContinuation(promptIds, ids), `run ${run}: ${promptIds} | ${ids}`);
  }
});

test('decodeToken gives the text of a token inside a text', () => {
  const ids = tokenizer.encode('Once upon a time');
  // Again, from what it remembers.
  for (let time = 0; time < 2; time++)
    assert.deepEqual(
      ids.map((id) => tokenizer.decodeToken(id)),
      ['<s>', ' Once', ' upon', ' a', ' time'],
    );
  assert.equal(tokenizer.decodeToken(99999), '');
});

test('eos has the token of tokenizer_config.json first, then those of generation_config.json', async () => {
  assert.deepEqual(tokenizer.eos, [2]);
  assert.equal(tokenizer.bos, 1);
  const other = await mkdtemp(join(folder, 'eos-'));
  await writeTinyCheckpoint(other);
  await writeJson(join(other, 'generation_config.json'), { eos_token_id: [1, 2] });
  assert.deepEqual((await Tokenizer.open(other)).eos, [2, 1]);
});

test('the hash depends on the tokenizer and the chat template only', async () => {
  assert.equal(tokenizer.hash, sha256(await readFile(join(folder, 'tokenizer.json'))));
  const other = await mkdtemp(join(folder, 'hash-'));
  await writeTinyCheckpoint(other, { seed: 9, layers: 1 });
  assert.equal((await Tokenizer.open(other)).hash, tokenizer.hash);
  await writeTinyCheckpoint(other, { chatTemplate: 'x' });
  assert.notEqual((await Tokenizer.open(other)).hash, tokenizer.hash);
});

test('renders chats with the checkpoint’s template, chat_template.jinja before tokenizer_config.json', async () => {
  const other = await mkdtemp(join(folder, 'chat-'));
  const messages: ChatMessage[] = [{ role: 'user', content: 'Hi' }];
  assert.equal(tokenizer.renderChat(messages), 'Hi');
  await writeTinyCheckpoint(other, { chatTemplate: '{{ bos_token }}[{{ messages[0].content }}]' });
  const chat = await Tokenizer.open(other);
  assert.equal(chat.renderChat(messages), '<s>[Hi]');
  assert.equal(chat.encode(chat.renderChat(messages)).filter((id) => id === 1).length, 1);
  await writeFile(join(other, 'chat_template.jinja'), 'from file');
  assert.equal((await Tokenizer.open(other)).renderChat(messages), 'from file');
});

test('rejects a missing or invalid tokenizer, with its file', async () => {
  const other = await mkdtemp(join(folder, 'broken-'));
  await assert.rejects(Tokenizer.open(other), { name: 'AttuneError', message: /tokenizer\.json: it is missing/ });
  await writeFile(join(other, 'tokenizer.json'), '{}');
  await assert.rejects(Tokenizer.open(other), { name: 'AttuneError', message: /^tokenizer\.json: / });
  await writeFile(join(other, 'tokenizer.json'), 'x');
  await assert.rejects(Tokenizer.open(other), {
    name: 'AttuneError',
    message: /tokenizer\.json: it is not a JSON object/,
  });
});

test('rejects a decoder with a regular expression, because decoding has no time limit', async () => {
  const tokenizerJson = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8'));
  tokenizerJson.decoder.decoders.push({ type: 'Replace', pattern: { Regex: '(a+)+b' }, content: '' });
  await assert.rejects(Tokenizer.from({ tokenizer: JSON.stringify(tokenizerJson) }), {
    code: 'invalid_checkpoint',
    message: /^tokenizer\.json: decoder: it has a regular expression/,
  });
});
