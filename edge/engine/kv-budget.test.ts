import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { kvBytesPerPosition } from '../../shared/decoder/kv-cache.ts';
import {
  collectResults,
  countPromptTokens,
  drain,
  eventsOf,
  generateAlone,
  makePrompt,
  makeRequest,
  makeScheduler,
  openDecoder,
} from '../../testing/engine.ts';
import { makeTempFolder, writeTinyPackage } from '../../testing/policy-package.ts';
import { maxSequenceLength, reservedKvBytes } from './kv-budget.ts';
import type { StepResult } from './scheduler.ts';

const folder = await makeTempFolder();
await writeTinyPackage(folder.path, { contextLength: 640, seed: 2 });
const decoder = await openDecoder(folder.path);
after(async () => {
  await decoder.release();
  await folder.remove();
});
const { architecture } = decoder;
/** A row of 64 positions. */
const SMALL = 64 * kvBytesPerPosition(architecture);

const startsOf = (turns: StepResult[]) =>
  eventsOf(turns)
    .filter(({ type }) => type === 'start')
    .map(({ id }) => id);

test('a row takes what it can grow to, in steps, and at most the context or what the memory holds', () => {
  const reach = maxSequenceLength(2 ** 30, architecture);
  assert.equal(reach, 640);
  assert.equal(reservedKvBytes(architecture, reach, 10, 20), SMALL);
  assert.equal(reservedKvBytes(architecture, reach, 44, 20), 2 * SMALL, 'the last position stays empty');
  assert.equal(reservedKvBytes(architecture, reach, 10, 9999), 11 * SMALL);
  assert.equal(maxSequenceLength(3 * SMALL, architecture), 191);
  assert.equal(reservedKvBytes(architecture, 191, 10, 9999), 3 * SMALL);
  assert.equal(maxSequenceLength(SMALL - 1, architecture), -1);
});

test('as many decode together as could all grow to the length of the longest', async () => {
  const kvMemory = 8 * SMALL;
  const scheduler = makeScheduler(decoder, { kvMemory });
  for (let id = 1; id <= 12; id++) {
    scheduler.submit(makeRequest({ id, promptIds: makePrompt(8, id), sampling: { maxTokens: 50 } }));
  }
  const turns = await drain(scheduler);
  assert.equal(Math.max(...turns.map(({ stats: report }) => report.decodedSequences)), 8);
  assert.ok(turns.every(({ stats: report }) => report.kvBytes <= kvMemory));
  assert.equal(collectResults(turns).size, 12);
  assert.ok([...collectResults(turns).values()].every(({ tokenIds }) => tokenIds.length === 50));
});

test('one that needs more room waits for it and is not overtaken', async () => {
  const scheduler = makeScheduler(decoder, { kvMemory: 8 * SMALL });
  const submit = (id: number, maxTokens: number) =>
    scheduler.submit(makeRequest({ id, tenant: `${id % 2}`, promptIds: makePrompt(8, id), sampling: { maxTokens } }));
  submit(1, 40);
  submit(2, 40);
  submit(3, 200);
  submit(4, 4);
  submit(5, 4);
  const turns = await drain(scheduler);
  const starts = startsOf(turns);
  assert.deepEqual(starts, [1, 2, 3, 4, 5]);
  const third = turns.findIndex(({ events }) => events.some(({ id }) => id === 3));
  assert.ok(third >= 39, `began in turn ${third}, beside two rows that were still there`);
});

test('rows have priority over what is kept of prompts, and answers are the same without it', async () => {
  const kvMemory = 4 * SMALL;
  const jobs = Array.from({ length: 9 }, (_, i) => ({
    id: i + 1,
    promptIds: [...makePrompt(40, 1), ...makePrompt(50, i % 3)],
    sharedLength: 40,
    sampling: { maxTokens: 60, temperature: 1, seed: i },
  }));
  const scheduler = makeScheduler(decoder, { kvMemory });
  for (const job of jobs) scheduler.submit(makeRequest(job));
  const turns = await drain(scheduler);
  assert.ok(turns.every(({ stats: report }) => report.kvBytes <= kvMemory));
  assert.ok(turns.some(({ stats: report }) => report.decodedSequences === 1));
  for (const job of jobs) {
    assert.deepEqual(collectResults(turns).get(`${job.id}:0`), (await generateAlone(decoder, job)).get(`${job.id}:0`));
  }
  // Two rows would need all of it, so one decodes and there is room for one prompt's beginning and end.
  assert.ok(countPromptTokens(turns).prefilled < 9 * 90);
});

test('after a burst the memory is back, but for what is kept of prompts', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const scheduler = makeScheduler(decoder);
  const burst = async (length: number) => {
    for (let id = 1; id <= 16; id++) {
      scheduler.submit(makeRequest({ id, promptIds: makePrompt(length, id), sampling: { maxTokens: 100 } }));
    }
    const turns = await drain(scheduler);
    // Buffers are freed in the background after the first.
    for (let i = 0; i < 3; i++) {
      collectGarbage();
      await setTimeout(5);
    }
    return { held: process.memoryUsage().arrayBuffers, turns };
  };
  const first = await burst(300);
  const peak = Math.max(...first.turns.map(({ stats: report }) => report.kvBytes));
  const kept = first.turns.at(-1)!.stats.kvBytes;
  assert.ok(peak - kept >= 16 * 7 * SMALL, `${peak} at most, ${kept} after`);
  const again: number[] = [];
  for (let round = 0; round < 3; round++) again.push((await burst(300)).held);
  for (const held of again) {
    assert.ok(
      Math.abs(held - first.held) < SMALL,
      `${first.held} bytes held after the first burst, ${again} after more`,
    );
  }
});
