// The plan of a round, which its dry run shows: what each method holds in memory and takes in time, and its refusals.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { round_events, rounds } from '../shared/database/schema.ts';
import { type RoundOptions, requestRound } from '../shared/rounds/schedule.ts';
import type { Settings } from '../shared/settings.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { runNextRound } from '../trainer/main.ts';
import { previewRound } from '../trainer/stages/dry-run.ts';

const server = await startEdgeServer({ TRAIN_MIN_PAIRS: '20', TRAIN_THREADS: '1', TRAIN_MEMORY: String(2 ** 30) });
const { connection, localStore, settings, home } = server;
const { db } = connection;

for (let at = 0; at < 60; at++) {
  const json = { prompt: `Prompt ${at}:`, chosen: ' yes yes', rejected: ' no no', rater: 'test' };
  assert.equal((await server.request('/v1/preferences', { json })).status, 200);
}

const trainerWith = (changes: Partial<Settings>) => ({ settings: { ...settings, ...changes }, store: localStore });

async function preview(changes: Partial<Settings> = {}, options: RoundOptions = {}): Promise<Record<string, string>> {
  const lines = await previewRound(trainerWith(changes), db, options);
  return Object.fromEntries(lines.map(({ name, text }) => [name, text]));
}

async function run(changes: Partial<Settings>, options: RoundOptions = {}, request = {}) {
  const { id } = await requestRound(db, 'api', request, options);
  await runNextRound(connection, trainerWith(changes), () => {});
  const [round] = await db.select().from(rounds).where(eq(rounds.id, id));
  const events = await db.select().from(round_events).where(eq(round_events.round_id, id));
  return { ...round!, stages: events.filter(({ type }) => type === 'stage').map(({ data }) => data?.stage) };
}

test('sampling for the gate is a stage of memory and time', async () => {
  const { memory, time, decision } = await preview();
  assert.equal(decision, 'it would run');
  assert.match(memory!, /^scoring .* sampling .* training .* evaluating .* publishing .* of 1\.00 GiB/);
  assert.match(time!, /^about .*: scoring .* sampling .* training .* evaluating .* publishing /);
});

test('a reward is planned without a reference and without samples, and its time is measured', async () => {
  const { memory, time } = await preview({}, { method: 'reward' });
  assert.match(memory!, /^training [\d.]+, publishing [\d.]+ of 1\.00 GiB/);
  assert.match(time!, /^about [^:]*: training [^,]*, evaluating [^,]*, publishing [^,]*;/);
});

test('a distillation is planned with its samples and its reward', async () => {
  const { reward } = { reward: (await run({}, { method: 'reward' })).policy_id! };
  const distill = { OBJECTIVE: 'distill', REDUCTION: 'sum', REWARD: reward } as const;
  const { memory, time, decision } = await preview(distill);
  assert.equal(decision, 'it would run');
  assert.match(memory!, /^scoring .* sampling .* training /);
  assert.match(time!, /^about .*: scoring .* sampling .* training /);
});

for (const fromRoot of [false, true])
  test(`too little memory refuses a round ${fromRoot ? 'from the root ' : ''}before it scores, as its dry run says`, async () => {
    const tooLittle = { TRAIN_MEMORY: 2 ** 26, ENGINE: 'auto' } as const;
    const { decision } = await preview(tooLittle, { fromRoot });
    const round = await run(tooLittle, { fromRoot });
    assert.deepEqual(round.stages, ['selecting', 'failed']);
    assert.match(round.reason!, /^trainer: .* needs about .* its limit is 0\.1 GiB \(TRAIN_MEMORY;/);
    assert.equal(decision, `it would fail: ${round.reason}`);
  });

test('dry runs leave no folder', async () => {
  assert.deepEqual(
    (await readdir(home)).filter((name) => name.startsWith('estimate-')),
    [],
  );
});
