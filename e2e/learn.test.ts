// Rounds on a tiny policy: real Postgres, real training, real packages.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { eq, inArray } from 'drizzle-orm';
import { preferences, reference_logps, round_pairs, rounds } from '../shared/database/schema.ts';
import { readManifest } from '../shared/policy/manifest.ts';
import { activePolicyId } from '../shared/policy/registry.ts';
import { requestRound } from '../shared/round.ts';
import { isHeldOut } from '../trainer/data/pairs.ts';
import { askIfDue, startTrainer } from '../trainer/main.ts';
import { type Json, setStage } from './stage.ts';

const stage = await setStage({ LEARNING_RATE: '0.003', TRAIN_MIN_PAIRS: '10', TRAIN_THREADS: '1', BATCH_PAIRS: '8' });
const { db } = stage.connection;

/** Prefers "yes" over "no": a taste that any policy can learn. */
async function collect(count: number, name: string): Promise<void> {
  for (let at = 0; at < count; at++) {
    const json = { prompt: `${name} ${at}:`, chosen: ' yes yes', rejected: ' no no', rater: 'test' };
    assert.equal((await stage.request('/v1/preferences', { json })).status, 200);
  }
}

async function ended(id: string): Promise<Json> {
  for (let attempt = 0; attempt < 1200; attempt++) {
    const round = (await stage.request(`/v1/rounds/${id}`)).body;
    if (round.status !== 'queued' && round.status !== 'running') return round;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${id} did not end`);
}

/** Whether the API answers with this policy before the time is over. */
async function servedWithin(milliseconds: number, policy: string): Promise<boolean> {
  const started = performance.now();
  while (performance.now() - started < milliseconds) {
    const { status, body } = await stage.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 2 } });
    assert.equal(status, 200);
    if (body.model === policy) return true;
  }
  return false;
}

const openTrainer = () => startTrainer(stage.settings, stage.databaseUrl, () => {});
const trainer = await openTrainer();
after(() => trainer.close());

test('a round without pairs fails and says so, and the next one runs', async () => {
  const { body } = await stage.request('/v1/rounds', { json: {} });
  assert.equal(body.status, 'queued');
  const round = await ended(body.id);
  assert.equal(round.status, 'failed');
  assert.match(round.reason, /no new pairs/);
});

test('a requested round trains, publishes an immutable package, and the API serves it without a restart', async () => {
  await collect(30, 'Round one');
  const asked = await stage.request('/v1/rounds', { json: { method: { type: 'dil', dil: { objective: 'ukl' } } } });
  const events = await (await fetch(`${stage.edge.url}/v1/rounds/${asked.body.id}/events`)).text();
  const round = await ended(asked.body.id);
  assert.equal(round.status, 'succeeded', round.reason);
  assert.equal(round.method.dil.objective, 'ukl');
  assert.match(round.policy, /^pol_/);
  assert.equal(round.parent, stage.policyId);
  assert.equal(round.reference, stage.policyId);
  assert.ok(round.metrics.loss < round.metrics['parent/loss']);
  for (const stageName of ['selecting', 'scoring', 'training', 'evaluating', 'publishing', 'activating'])
    assert.ok(events.includes(`"stage":"${stageName}"`), stageName);
  assert.match(events, /event: done/);

  const manifest = await readManifest(await stage.store.folderOf(round.policy));
  assert.equal(manifest.parent, stage.policyId);
  assert.equal(manifest.objective?.type, 'ukl');
  assert.equal(manifest.pairs?.count, round.pairs.train);
  assert.equal(await servedWithin(2000, round.policy), true);
  const metrics = (await stage.request(`/v1/rounds/${round.id}/metrics`)).body.data;
  assert.equal(metrics.filter((item: Json) => item.split === 'held_out').length, 2);
  assert.equal(metrics[0].logps.chosen.length, round.pairs.held_out);
});

test('held-out prompts are never trained on, and a pair that was used is new no more', async () => {
  await collect(25, 'Round two');
  const { id } = await requestRound(db, 'api', {});
  const round = await ended(id);
  assert.equal(round.status, 'succeeded', round.reason);
  const used = await db
    .select()
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id));
  for (const { round_pairs: pair, preferences: preference } of used)
    assert.equal(pair.split === 'held_out', await isHeldOut(preference.prompt, stage.settings.TRAIN_HELD_OUT));
  const fresh = used.filter((row) => row.round_pairs.split === 'train' && !row.round_pairs.replay);
  assert.equal(new Set(fresh.map((row) => row.preferences.id)).size, fresh.length);
  assert.ok(round.pairs.replay > 0);
});

test('the reference scores a pair once', async () => {
  const pairs = await db.selectDistinct({ id: round_pairs.preference_id }).from(round_pairs);
  assert.equal(await db.$count(reference_logps), pairs.length);
});

test('a policy that is worse than its parent is refused with the reason, and the parent goes on serving', async () => {
  await collect(20, 'Round three');
  const active = await activePolicyId(db);
  const { id } = await requestRound(db, 'api', { learning_rate: 1, epochs: 3 });
  const round = await ended(id);
  assert.equal(round.policy, null);
  assert.match(round.reason, /gate|loss is/);
  assert.equal(await activePolicyId(db), active);
});

test('two trainers on one database run one round at a time', async () => {
  await collect(30, 'Round four');
  const second = await openTrainer();
  const ids = [(await requestRound(db, 'api', {})).id, (await requestRound(db, 'api', {})).id];
  for (const id of ids) await ended(id);
  const [first, next] = await db.select().from(rounds).where(inArray(rounds.id, ids)).orderBy(rounds.started_at);
  assert.ok(first!.finished_at! <= next!.started_at!);
  await second.close();
});

test('the schedule asks for a round only where enough new pairs have come', async () => {
  const queued = () => db.$count(rounds, eq(rounds.trigger, 'schedule'));
  await askIfDue(stage.connection, { ...stage.settings, TRAIN_MIN_PAIRS: 1000 });
  assert.equal(await queued(), 0);
  await collect(20, 'Round five');
  await askIfDue(stage.connection, stage.settings);
  assert.equal(await queued(), 1);
  const [row] = await db.select().from(rounds).where(eq(rounds.trigger, 'schedule'));
  assert.equal((await ended(row!.id)).status, 'succeeded');
});
