import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPair, type Pair } from './export.ts';
import { parsePreferences } from './import.ts';
import type { PreferenceRecord } from './record.ts';

async function* bytesOf(text: string, size = 7): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  // Small chunks, so that rows, characters and escapes are cut anywhere.
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(text: string, options = {}) {
  return Array.fromAsync(parsePreferences(bytesOf(text), options));
}

async function readOne(row: unknown): Promise<PreferenceRecord | string> {
  const [item] = await read(JSON.stringify(row));
  return item && 'record' in item ? item.record : (item?.error ?? '');
}

const question = [{ role: 'user' as const, content: 'Q' }];
const base = { prompt: question, a: 'good', b: 'bad', choice: 'a', rater: null, externalId: null, metadata: {} };

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
  test(`rows are split from ${name} for any chunk size`, async () => {
    for (const size of [1, 3, 1000]) {
      const items = await Array.fromAsync(parsePreferences(bytesOf(text, size)));
      assert.deepEqual(
        items.map((item) => ('record' in item ? item.record.prompt : item.error)),
        ['é "1" ] , {', 'é "2" ] , {', 'é "3" ] , {'],
      );
      assert.deepEqual(
        items.map((item) => item.row),
        [1, 2, 3],
      );
    }
  });
}

test('an invalid row is reported with its number and the rows after it are parsed', async () => {
  for (const text of [`${row(1)}\n{"prompt": \n\n${row(4)}`, `[${row(1)}, {"prompt": }, 7, ${row(4)}]`]) {
    const items = await read(text);
    assert.deepEqual(
      items.filter((item) => 'record' in item).map((item) => item.row),
      [1, 4],
    );
    assert.match((items[1] as { error: string }).error, /not valid JSON/);
  }
});

test('a row that nests too deeply is refused before it is parsed', async () => {
  const deep = `{"prompt": "Q", "deep": ${'['.repeat(40)}${']'.repeat(40)}}`;
  const items = await read([row(1), deep, row(3)].join('\n'));
  assert.deepEqual(items[1], { row: 2, error: 'deep nests deeper than 32 levels; flatten it' });
  assert.equal(items.length, 3);
});

test('a truncated array gives its complete rows and an error at its end', async () => {
  const items = await read(`[${row(1)}, ${row(2)}, {"prompt": "Q`);
  assert.equal(items.length, 3);
  assert.deepEqual(items[2], { row: 3, error: 'the array is not closed; the file is truncated here' });
});

test('a file that is not UTF-8 is rejected after its valid rows', async () => {
  async function* latin1() {
    yield new TextEncoder().encode(`${row(1)}\n`.padEnd(600, ' '));
    yield Uint8Array.of(0x22, 0xe9, 0x22);
  }
  const items = await Array.fromAsync(parsePreferences(latin1()));
  assert.match((items.at(-1) as { error: string }).error, /not UTF-8/);
});

test('a row over the length limit is rejected and the next one is parsed', async () => {
  const long = JSON.stringify({ prompt: 'x'.repeat(5000), chosen: 'a', rejected: 'b' });
  for (const text of [`${long}\n${row(2)}`, `[${long},${row(2)}]`]) {
    const [first, second] = await read(text, { maxRowBytes: 1000 });
    assert.match((first as { error: string }).error, /longer than 1000/);
    assert.ok(second && 'record' in second);
  }
});

test('the limit of a row is in bytes', async () => {
  const wide = JSON.stringify({ prompt: '中'.repeat(400), chosen: 'a', rejected: 'b' });
  const [item] = await read(wide, { maxRowBytes: 1000 });
  assert.match((item as { error: string }).error, /longer than 1000 bytes/);
  assert.ok('record' in (await read(wide, { maxRowBytes: 2000 }))[0]!);
});

test('blank lines before the first row are counted, and any amount of white space is read in constant memory', async () => {
  async function* blank() {
    const bytes = new TextEncoder().encode(`\n${' '.repeat(65_535)}`);
    for (let at = 0; at < 2000; at++) yield bytes;
    yield new TextEncoder().encode(row(1));
  }
  const before = process.memoryUsage().heapUsed;
  const items = await Array.fromAsync(parsePreferences(blank()));
  assert.deepEqual(
    items.map((item) => [item.row, 'record' in item]),
    [[2001, true]],
  );
  assert.ok(process.memoryUsage().heapUsed - before < 64 * 2 ** 20);
});

test('a row has at most 100 annotators', async () => {
  const votes = Object.fromEntries(Array.from({ length: 101 }, (_, at) => [`annotator${at}`, 1]));
  const [item] = await read(JSON.stringify({ instruction: 'I', response1: 'x', response2: 'y', ...votes }));
  assert.match((item as { error: string }).error, /101 annotators; give at most 100/);
});

test('each annotator of a row gives one preference', async () => {
  const items = await read(
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
  const records = items.map((item) => ('record' in item ? item.record : null));
  assert.deepEqual(
    records.map((item) => [item?.rater, item?.choice]),
    [
      ['annotator1', 'a'],
      ['annotator2', 'b'],
      ['annotator3', 'tie'],
    ],
  );
});

test('100,000 rows are parsed in constant memory', async () => {
  async function* many() {
    const line = new TextEncoder().encode(`${row(1)}${' '.repeat(1000)}\n`);
    for (let at = 0; at < 100_000; at++) yield line;
  }
  const before = process.memoryUsage().heapUsed;
  let count = 0;
  let maxBytes = 0;
  for await (const item of parsePreferences(many())) {
    assert.ok('record' in item);
    if (++count % 10_000 === 0) maxBytes = Math.max(maxBytes, process.memoryUsage().heapUsed - before);
  }
  assert.equal(count, 100_000);
  assert.ok(maxBytes < 100 * 2 ** 20, `${maxBytes} bytes`);
});

test('an export in any format imports as the same preference', async () => {
  const pair: Pair = {
    id: 'pref_1',
    source: 'raw',
    created_at: new Date(),
    prompt: 'Q',
    chosen: 'good',
    rejected: 'bad',
    comparison: null,
    rater: base.rater,
    strength: null,
    votes: { chosen: 1, rejected: 0, tie: 0, both_bad: 0 },
    metadata: null,
  };
  for (const prompt of ['Q', question])
    for (const format of ['openai', 'trl', 'attune'] as const) {
      const record = await readOne(JSON.parse(formatPair({ ...pair, prompt }, format)));
      const { prompt: imported, a, b, choice } = record as PreferenceRecord;
      const expected = format === 'openai' && typeof prompt === 'string' ? question : prompt;
      assert.deepEqual({ prompt: imported, a, b, choice }, { prompt: expected, a: 'good', b: 'bad', choice: 'a' });
    }
});
