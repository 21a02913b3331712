import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writePreference } from './export.ts';
import { readPreferences } from './import.ts';
import type { PreferenceRecord } from './record.ts';

async function* bytesOf(text: string, size = 7): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  // Small pieces, so that rows, characters and escapes are cut anywhere.
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(text: string, options = {}) {
  return Array.fromAsync(readPreferences(bytesOf(text), options));
}

async function readOne(row: unknown): Promise<PreferenceRecord | string> {
  const [item] = await read(JSON.stringify(row));
  return item && 'record' in item ? item.record : (item?.error ?? '');
}

const question = [{ role: 'user' as const, content: 'Q' }];
const good = { role: 'assistant', content: 'good' };
const bad = { role: 'assistant', content: 'bad' };
const plain = { prompt: question, a: 'good', b: 'bad', choice: 'a', rater: null, externalId: null, metadata: {} };

const shapes: [string, unknown, object][] = [
  ['OpenAI', { input: { messages: question }, preferred_output: [good], non_preferred_output: [bad] }, plain],
  [
    'older OpenAI',
    { input: { messages: question }, preferred_completion: [good], non_preferred_completion: [bad] },
    plain,
  ],
  ['TRL text', { prompt: 'Q', chosen: 'good', rejected: 'bad' }, { ...plain, prompt: 'Q' }],
  ['TRL conversational', { prompt: question, chosen: [good], rejected: [bad] }, plain],
  ['TRL with the prompt inside both', { chosen: [...question, good], rejected: [...question, bad] }, plain],
  [
    'OpenPipe',
    { messages: [...question, good], rejected_message: bad, split: 'train' },
    { ...plain, metadata: { split: 'train' } },
  ],
  [
    'ShareGPT',
    {
      conversations: [{ from: 'human', value: 'Q' }],
      chosen: { from: 'gpt', value: 'good' },
      rejected: { from: 'gpt', value: 'bad' },
    },
    plain,
  ],
  [
    'Arena',
    {
      question_id: 7,
      model_a: 'x',
      model_b: 'y',
      winner: 'model_b',
      conversation_a: [...question, bad],
      conversation_b: [...question, good],
    },
    { ...plain, a: 'bad', b: 'good', choice: 'b', externalId: '7', metadata: { model_a: 'x', model_b: 'y' } },
  ],
  [
    'an Arena tie in which both are bad',
    {
      id: 'q',
      model_a: 'x',
      model_b: 'y',
      winner: 'tie (bothbad)',
      conversation_a: [...question, bad],
      conversation_b: [...question, good],
    },
    { ...plain, a: 'bad', b: 'good', choice: 'both_bad', externalId: 'q', metadata: { model_a: 'x', model_b: 'y' } },
  ],
  [
    'instructions',
    { instruction: 'Do', input: 'it', chosen: 'good', rejected: 'bad' },
    { ...plain, prompt: [{ role: 'user', content: 'Do\n\nit' }] },
  ],
  [
    'content in parts',
    {
      input: { messages: [{ role: 'user', content: [{ type: 'text', text: 'Q' }] }] },
      preferred_output: [good],
      non_preferred_output: [bad],
    },
    plain,
  ],
];
for (const [name, row, expected] of shapes) {
  test(`${name} is understood`, async () => assert.deepEqual(await readOne(row), expected));
}

const refusals: [string, unknown, RegExp][] = [
  [
    'an empty preferred_output',
    { input: { messages: question }, preferred_output: [], non_preferred_output: [bad] },
    /openai: preferred_output is empty; give one assistant message/,
  ],
  [
    'an answer by the user',
    { input: { messages: question }, preferred_output: question, non_preferred_output: [bad] },
    /ends with a user message/,
  ],
  [
    'no messages',
    { input: { messages: [] }, preferred_output: [good], non_preferred_output: [bad] },
    /input\.messages: give at least one/,
  ],
  [
    'an unknown role',
    { input: { messages: [{ role: 'king', content: 'Q' }] }, preferred_output: [good], non_preferred_output: [bad] },
    /"king" is no role/,
  ],
  [
    'an image',
    {
      input: { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      preferred_output: [good],
      non_preferred_output: [bad],
    },
    /text parts only/,
  ],
  ['the same answer twice', { prompt: 'Q', chosen: 'x', rejected: 'x' }, /trl: chosen and rejected are the same/],
  ['an empty side', { prompt: 'Q', chosen: 'x', rejected: '' }, /rejected is empty/],
  ['an empty prompt', { prompt: '', chosen: 'x', rejected: 'y' }, /prompt is empty/],
  ['texts without a prompt', { chosen: 'x', rejected: 'y' }, /prompt is missing/],
  ['conversations that begin differently', { chosen: [good, good], rejected: [bad, bad] }, /begin differently/],
  [
    'Arena with two prompts',
    {
      model_a: 'x',
      model_b: 'y',
      winner: 'tie',
      conversation_a: [{ role: 'user', content: 'other' }, bad],
      conversation_b: [...question, good],
    },
    /differ before/,
  ],
  [
    'an unknown winner',
    {
      model_a: 'x',
      model_b: 'y',
      winner: 'me',
      conversation_a: [...question, bad],
      conversation_b: [...question, good],
    },
    /winner must be/,
  ],
  [
    'an unknown shape',
    { question: 'Q', answer: 'A' },
    /it has question, answer; understood are openai \(input, preferred_output\)/,
  ],
  ['a number', 5, /no JSON object/],
  ['a NUL character', { prompt: 'Q\0', chosen: 'x', rejected: 'y' }, /NUL/],
];
for (const [name, row, reason] of refusals) {
  test(`${name} is refused with the reason`, async () => assert.match(String(await readOne(row)), reason));
}

const row = (n: number) => JSON.stringify({ prompt: `é "${n}" ] , {`, chosen: 'x\\', rejected: 'y' });
const rows = [row(1), row(2), row(3)];
const containers: [string, string][] = [
  ['lines', rows.join('\n')],
  ['lines with a byte order mark, CRLF and a last newline', `\uFEFF${rows.join('\r\n')}\r\n`],
  ['an array', `[${rows.join(',')}]`],
  [
    'an indented array',
    JSON.stringify(
      rows.map((text) => JSON.parse(text)),
      null,
      2,
    ),
  ],
  ['an object with data', JSON.stringify({ data: rows.map((text) => JSON.parse(text)) }, null, 2)],
];
for (const [name, text] of containers) {
  test(`rows come out of ${name}, however the bytes are cut`, async () => {
    for (const size of [1, 3, 1000]) {
      const found = await Array.fromAsync(readPreferences(bytesOf(text, size)));
      assert.deepEqual(
        found.map((item) => ('record' in item ? item.record.prompt : item.error)),
        ['é "1" ] , {', 'é "2" ] , {', 'é "3" ] , {'],
      );
      assert.deepEqual(
        found.map((item) => item.row),
        [1, 2, 3],
      );
    }
  });
}

test('a broken row is reported by its number and those after it are read', async () => {
  for (const text of [`${row(1)}\n{"prompt": \n\n${row(4)}`, `[${row(1)}, {"prompt": }, 7, ${row(4)}]`]) {
    const found = await read(text);
    assert.deepEqual(
      found.filter((item) => 'record' in item).map((item) => item.row),
      [1, 4],
    );
    assert.match((found[1] as { error: string }).error, /not valid JSON/);
  }
});

test('an array that is cut off gives its whole rows and says where it ends', async () => {
  const found = await read(`[${row(1)}, ${row(2)}, {"prompt": "Q`);
  assert.equal(found.length, 3);
  assert.deepEqual(found[2], { row: 3, error: 'the array has no end; the file is cut off here' });
});

test('a row over the limit is refused and the next one is read', async () => {
  const long = JSON.stringify({ prompt: 'x'.repeat(5000), chosen: 'a', rejected: 'b' });
  for (const text of [`${long}\n${row(2)}`, `[${long},${row(2)}]`]) {
    const [first, second] = await read(text, { maxRowLength: 1000 });
    assert.match((first as { error: string }).error, /longer than 1000/);
    assert.ok(second && 'record' in second);
  }
});

test('each annotator of a row gives a preference of their own', async () => {
  const found = await read(
    JSON.stringify([
      {
        idx: 0,
        instruction: 'I',
        input: '',
        response1: 'x',
        response2: 'y',
        annotator1: 1,
        annotator2: 2,
        annotator3: 0,
      },
    ]),
  );
  const records = found.map((item) => ('record' in item ? item.record : null));
  assert.deepEqual(
    records.map((item) => [item?.rater, item?.choice]),
    [
      ['annotator1', 'a'],
      ['annotator2', 'b'],
      ['annotator3', 'tie'],
    ],
  );
});

test('a hundred thousand rows are read in the memory of a few', async () => {
  async function* many() {
    const line = new TextEncoder().encode(`${row(1)}${' '.repeat(1000)}\n`);
    for (let at = 0; at < 100_000; at++) yield line;
  }
  const before = process.memoryUsage().heapUsed;
  let count = 0;
  let most = 0;
  for await (const item of readPreferences(many())) {
    assert.ok('record' in item);
    if (++count % 10_000 === 0) most = Math.max(most, process.memoryUsage().heapUsed - before);
  }
  assert.equal(count, 100_000);
  assert.ok(most < 100 * 2 ** 20, `${most} bytes`);
});

test('what is exported in either shape imports as the same preference', async () => {
  for (const prompt of ['Q', question]) {
    for (const format of ['openai', 'trl'] as const) {
      const original = { ...plain, prompt, choice: 'b' as const, a: 'bad', b: 'good' };
      const found = await readOne(JSON.parse(writePreference(original, format)!));
      const expected = format === 'openai' && typeof prompt === 'string' ? question : prompt;
      assert.deepEqual(found, { ...plain, prompt: expected });
    }
  }
  assert.equal(writePreference({ ...plain, choice: 'tie' }, 'trl'), null);
});
