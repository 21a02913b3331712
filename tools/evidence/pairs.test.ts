import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { preferenceStudyConfig } from './config.ts';
import { type PairSplits, readPairs } from './pairs.ts';

let folder: string;
let tokenizer: Tokenizer;
let architecture: Architecture;
const config = { ...preferenceStudyConfig, warmUpPairs: 10, trainPairs: 20, heldOutPairs: 8, maxTokens: 40 };

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  ({ architecture } = await writeTinyCheckpoint(folder));
  tokenizer = await Tokenizer.open(folder);
});
after(() => rm(folder, { recursive: true }));

async function read(rows: unknown[]): Promise<PairSplits> {
  const file = path.join(folder, 'pairs.jsonl');
  await writeFile(file, rows.map((row) => JSON.stringify(row)).join('\n'));
  return readPairs(file, tokenizer, architecture, config);
}

/** Two responses to each of `count` prompts, so that a prompt has two pairs. */
const makeRows = (count: number) =>
  Array.from({ length: 2 * count }, (_, i) => ({
    prompt: `prompt ${i % count}`,
    chosen: `good ${i}`,
    rejected: `bad ${i}`,
  }));
const promptsOf = (pairs: PairSplits['train']) => new Set(pairs.map(({ chosen }) => chosen.promptIds.join()));

test('held-out prompts are never trained on, and no pair both fine-tunes the reference and trains a run', async () => {
  const { warmUp: prepare, train, heldOut, counts } = await read(makeRows(60));
  assert.deepEqual(counts, { read: 120, short: 120, invalid: 0 });
  assert.deepEqual([prepare.length, heldOut.length], [10, 8]);
  const trained = promptsOf([...prepare, ...train]);
  for (const prompt of promptsOf(heldOut)) assert.ok(!trained.has(prompt));
  const responses = (pairs: PairSplits['train']) => pairs.map(({ chosen }) => chosen.responseIds.join());
  const preparing = new Set(responses(prepare));
  assert.ok(responses(train).every((response) => !preparing.has(response)));
});

test('long pairs, ties and invalid rows are skipped and counted', async () => {
  const {
    counts,
    train,
    heldOut,
    warmUp: prepare,
  } = await read([
    ...makeRows(40),
    { prompt: 'p', chosen: 'a word '.repeat(40), rejected: 'b' },
    { prompt: 'p', chosen: 'same', rejected: 'same' },
    { question_id: 1, model_a: 'm', model_b: 'n', winner: 'tie', ...arena() },
  ]);
  assert.deepEqual(counts, { read: 81, short: 80, invalid: 1 });
  for (const { chosen, rejected } of [...train, ...heldOut, ...prepare])
    for (const side of [chosen, rejected]) {
      assert.ok(side.promptIds.length + side.responseIds.length <= config.maxTokens);
      assert.equal(side.responseIds.at(-1), tokenizer.eos[0]);
    }
});

test('rejects a missing file and one with too few pairs, with the number needed', async () => {
  const missing = readPairs(path.join(folder, 'no.json'), tokenizer, architecture, config);
  await assert.rejects(missing, (error) => error instanceof AttuneError && /--pairs .*no\.json/.test(error.message));
  await assert.rejects(
    read(makeRows(5)),
    (error) => error instanceof AttuneError && /needs 30 for training/.test(error.message),
  );
});

function arena() {
  const conversation = (content: string) => [
    { role: 'user', content: 'p' },
    { role: 'assistant', content },
  ];
  return { conversation_a: conversation('a'), conversation_b: conversation('b') };
}
