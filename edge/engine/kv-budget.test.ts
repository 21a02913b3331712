import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  collectEvents,
  collectResults,
  countPromptTokens,
  drain,
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
const { architecture, kvBytesPerPosition } = decoder;
const budgetOf = (kvMemoryBytes: number) => ({ kvMemoryBytes, kvBytesPerPosition });
/** Bytes of a row of 64 positions. */
const ROW_BYTES = 64 * kvBytesPerPosition;

const listStarts = (steps: StepResult[]) =>
  collectEvents(steps)
    .filter(({ type }) => type === 'start')
    .map(({ id }) => id);

test('a row reserves its full length, rounded up, and at most the context or what fits into the memory', () => {
  const maxLength = maxSequenceLength(budgetOf(2 ** 30), architecture.contextLength);
  assert.equal(maxLength, 640);
  assert.equal(reservedKvBytes(decoder, maxLength, 10, 20), ROW_BYTES);
  assert.equal(reservedKvBytes(decoder, maxLength, 44, 20), 2 * ROW_BYTES, 'the last position stays free');
  assert.equal(reservedKvBytes(decoder, maxLength, 10, 9999), 11 * ROW_BYTES);
  assert.equal(maxSequenceLength(budgetOf(3 * ROW_BYTES), architecture.contextLength), 191);
  assert.equal(reservedKvBytes(decoder, 191, 10, 9999), 3 * ROW_BYTES);
  assert.equal(maxSequenceLength(budgetOf(ROW_BYTES - 1), architecture.contextLength), -1);
});

test('as many sequences decode together as fit at the length of the longest', async () => {
  const kvMemoryBytes = 8 * ROW_BYTES;
  const scheduler = makeScheduler(decoder, { kvMemoryBytes });
  for (let id = 1; id <= 12; id++) {
    scheduler.submit(makeRequest({ id, promptIds: makePrompt(8, id), sampling: { maxTokens: 50 } }));
  }
  const steps = await drain(scheduler);
  assert.equal(Math.max(...steps.map(({ stats }) => stats.decodedSequences)), 8);
  assert.ok(steps.every(({ stats }) => stats.kvBytes <= kvMemoryBytes));
  assert.equal(collectResults(steps).size, 12);
  assert.ok([...collectResults(steps).values()].every(({ tokenIds }) => tokenIds.length === 50));
});

test('a choice that needs more memory waits for it and is not overtaken', async () => {
  const scheduler = makeScheduler(decoder, { kvMemoryBytes: 8 * ROW_BYTES });
  const submit = (id: number, maxTokens: number) =>
    scheduler.submit(makeRequest({ id, tenant: `${id % 2}`, promptIds: makePrompt(8, id), sampling: { maxTokens } }));
  submit(1, 40);
  submit(2, 40);
  submit(3, 200);
  submit(4, 4);
  submit(5, 4);
  const steps = await drain(scheduler);
  const starts = listStarts(steps);
  assert.deepEqual(starts, [1, 2, 3, 4, 5]);
  const third = steps.findIndex(({ events }) => events.some(({ id }) => id === 3));
  assert.ok(third >= 39, `started in step ${third}, beside two rows that were still running`);
});

test('rows have priority over the prefix cache, and evictions do not change the results', async () => {
  const kvMemoryBytes = 4 * ROW_BYTES;
  const requests = Array.from({ length: 9 }, (_, i) => ({
    id: i + 1,
    promptIds: [...makePrompt(40, 1), ...makePrompt(50, i % 3)],
    sharedLengths: [40],
    sampling: { maxTokens: 60, temperature: 1, seed: i },
  }));
  const scheduler = makeScheduler(decoder, { kvMemoryBytes });
  for (const request of requests) scheduler.submit(makeRequest(request));
  const steps = await drain(scheduler);
  assert.ok(steps.every(({ stats }) => stats.kvBytes <= kvMemoryBytes));
  assert.ok(steps.some(({ stats }) => stats.decodedSequences === 1));
  for (const request of requests) {
    assert.deepEqual(
      collectResults(steps).get(`${request.id}:0`),
      (await generateAlone(decoder, request)).get(`${request.id}:0`),
    );
  }
  // Two rows would need all of the memory, so one decodes beside the two cached chunks of one prompt.
  assert.ok(countPromptTokens(steps).prefilled < 9 * 90);
});

test('after a burst all memory but the prefix cache is freed', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const scheduler = makeScheduler(decoder);
  const burst = async (length: number) => {
    for (let id = 1; id <= 16; id++) {
      scheduler.submit(makeRequest({ id, promptIds: makePrompt(length, id), sampling: { maxTokens: 100 } }));
    }
    const steps = await drain(scheduler);
    // After the first collection, buffers are freed in the background.
    for (let i = 0; i < 3; i++) {
      collectGarbage();
      await setTimeout(5);
    }
    return { held: process.memoryUsage().arrayBuffers, steps };
  };
  const first = await burst(300);
  const peak = Math.max(...first.steps.map(({ stats }) => stats.kvBytes));
  const kept = first.steps.at(-1)!.stats.kvBytes;
  assert.ok(peak - kept >= 16 * 7 * ROW_BYTES, `${peak} bytes at the peak, ${kept} after it`);
  const again: number[] = [];
  for (let round = 0; round < 3; round++) again.push((await burst(300)).held);
  for (const held of again) {
    assert.ok(
      Math.abs(held - first.held) < ROW_BYTES,
      `${first.held} bytes held after the first burst, ${again} after more`,
    );
  }
});
