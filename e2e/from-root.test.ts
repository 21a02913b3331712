// Rounds from the root, on everything that the active policy's line has learned; cancelled rounds; forgetting.

import assert from 'node:assert/strict';
import { rename } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { asc, eq, sql } from 'drizzle-orm';
import { LOCKS } from '../shared/database/lock.ts';
import {
  new_pairs,
  policies,
  preferences,
  round_events,
  round_pairs,
  rounds,
  webhook_events,
} from '../shared/database/schema.ts';
import { readManifest } from '../shared/package/files.ts';
import { countNewPairs } from '../shared/rounds/pairs.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import type { RoundRequest } from '../shared/rounds/settings.ts';
import type { Settings } from '../shared/settings.ts';
import { policiesFolder } from '../shared/store/local-store.ts';
import { activatePolicy, getActivePolicyId } from '../shared/store/registry.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { pauseIn, STAGES } from '../testing/pause-round.ts';
import { runNextRound } from '../trainer/main.ts';
import { previewRound } from '../trainer/stages/dry-run.ts';

const server = await startEdgeServer({
  LEARNING_RATE: '0.001',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  BATCH_PAIRS: '8',
});
const { connection, settings, localStore, policyId: root } = server;
const { db } = connection;
const context = { settings, store: localStore };
/** A gate without guards, which a policy that learned more passes. */
const GUARDS = { gate_kl: 1e6, gate_chosen_drop: 1e6, gate_length: 1e6, gate_repetition: 1, early_stopping: 0 };

async function collect(count: number, name: string, [chosen, rejected] = [' yes yes', ' no no']): Promise<void> {
  for (let at = 0; at < count; at++) {
    const json = { prompt: `${name} ${at}:`, chosen, rejected, rater: 'test' };
    assert.equal((await server.request('/v1/preferences', { json })).status, 200);
  }
}
const getRound = async (id: string) => (await db.select().from(rounds).where(eq(rounds.id, id)))[0]!;
const getMessages = async (id: string) =>
  (await db.select().from(round_events).where(eq(round_events.round_id, id)).orderBy(asc(round_events.id))).map(
    ({ message }) => message,
  );

async function train(request: RoundRequest, { fromRoot = false, changes = {} as Partial<Settings> } = {}) {
  const { id } = await requestRound(db, 'api', { ...GUARDS, ...request }, { fromRoot });
  await runNextRound(connection, { ...context, settings: { ...settings, ...changes } }, () => {});
  return getRound(id);
}

async function preview(changes: Partial<Settings> = {}): Promise<Record<string, string>> {
  const lines = await previewRound({ ...context, settings: { ...settings, ...changes } }, db, { fromRoot: true });
  return Object.fromEntries(lines.map(({ name, text }) => [name, text]));
}

/** A request from the root that the gate lets pass: the active policy has trained less. */
const requestLearnable = async () => (await requestRound(db, 'api', { ...GUARDS, epochs: 8 }, { fromRoot: true })).id;

// Two rounds of the usual kind; `second` is active.
await collect(40, 'First');
const first = (await train({ epochs: 3 })).policy_id!;
await collect(40, 'Second');
const second = (await train({ epochs: 3 })).policy_id!;

test('a round from the root trains it on everything, and replaces the active policy that it was compared with', async () => {
  assert.deepEqual([await getActivePolicyId(db), await countNewPairs(db)], [second, 0]);
  await collect(10, 'New');
  const { parent, pairs, decision } = await preview();
  assert.ok(parent!.startsWith(`${root} `) && parent!.endsWith(`, the root, to replace the active ${second}`), parent);
  assert.equal(decision, 'it would run');
  const { body } = await server.request('/v1/rounds', {
    json: { method: { type: 'dil', dil: { ...GUARDS, epochs: 8 } }, from_root: true },
  });
  assert.deepEqual([body.from_root, body.parent, body.baseline], [true, null, null]);
  await runNextRound(connection, context, () => {});
  const round = (await server.request(`/v1/rounds/${body.id}`)).body;
  assert.deepEqual([round.status, round.stage], ['succeeded', 'active'], round.reason);
  assert.deepEqual([round.parent, round.baseline, round.reference], [root, second, root]);
  assert.equal(
    pairs!.startsWith(`${round.pairs.new} new, ${round.pairs.replay} replayed, ${round.pairs.held_out} held`),
    true,
  );
  assert.equal(round.pairs.left_out.over_limit, 0);
  assert.equal(round.pairs.train + round.pairs.held_out, 90);
  // Compared with the second policy, not with the root, whose loss is 2 ln 2.
  const metrics = (await server.request(`/v1/rounds/${body.id}/metrics`)).body.data;
  const atRoot = metrics.find((row: { split: string }) => row.split === 'held_out').metrics.loss;
  assert.ok(Math.abs(atRoot - 2 * Math.LN2) < 1e-4);
  assert.ok(round.metrics['parent/loss'] < atRoot - 0.01);
  assert.deepEqual(
    round.earlier_rounds.map((earlier: { before: Record<string, number> }) => earlier.before['rewards/margins']! > 0),
    [true, true],
  );

  assert.equal(await getActivePolicyId(db), round.policy);
  const [policy] = await db.select().from(policies).where(eq(policies.id, round.policy));
  assert.deepEqual([policy!.parent_id, policy!.reference_id], [root, root]);
  assert.equal((await readManifest(await localStore.getFolder(round.policy))).parent, root);
});

test('its round holds every pair that it used, so that the ledger of new pairs follows its policy', async () => {
  const active = (await getActivePolicyId(db))!;
  const { round_id } = (await db.select().from(policies).where(eq(policies.id, active)))[0]!;
  const used = await db.select().from(round_pairs).where(eq(round_pairs.round_id, round_id!));
  assert.deepEqual([used.length, used.filter(({ replay }) => replay).length], [90, 0]);
  const countAfter = async (id: string) => {
    await activatePolicy(db, id, 'promoted');
    return countNewPairs(db);
  };
  assert.equal(await countNewPairs(db), 0);
  // The second policy has not learned the ten of its own time, the first one only its forty.
  assert.deepEqual([await countAfter(second), await countAfter(first), await countAfter(root)], [10, 50, 90]);
  assert.deepEqual([await countAfter(active), await countAfter(second)], [0, 10]);
});

test('pairs beyond TRAIN_MAX_PAIRS are counted, and new again for its policy', async () => {
  const changes = { TRAIN_MAX_PAIRS: 60 };
  assert.match((await preview(changes))['left out']!, /, [1-9]\d* beyond TRAIN_MAX_PAIRS/);
  const round = await train({ epochs: 12 }, { fromRoot: true, changes });
  assert.equal(round.stage, 'active', round.reason ?? '');
  const { over_limit } = round.pairs!.left_out;
  assert.ok(round.pairs!.train <= 60 && over_limit > 0);
  assert.equal(await countNewPairs(db), over_limit);
  const rows = await db.select().from(new_pairs).innerJoin(preferences, eq(preferences.id, new_pairs.preference_id));
  assert.equal(rows.length, over_limit);
});

test('an operator who changes the active policy meanwhile keeps it', async () => {
  await activatePolicy(db, second, 'test');
  const id = await requestLearnable();
  const { trainer, onProgress } = pauseIn(context, 'publishing', () => activatePolicy(db, first, 'promoted'));
  await runNextRound(connection, trainer, onProgress);
  const round = await getRound(id);
  assert.equal(round.stage, 'published', round.reason ?? '');
  assert.match(round.reason ?? '', new RegExp(`^published, not active: .* in place of ${second} while`));
  assert.equal(await getActivePolicyId(db), first);
});

for (const stage of STAGES) {
  test(`a round from the root whose trainer is lost while ${stage} is finished by the next one with the same pairs`, async () => {
    await activatePolicy(db, second, 'test');
    const id = await requestLearnable();
    const { trainer, onProgress } = pauseIn(context, stage, async () => {
      await db.execute(sql`
        select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = ${LOCKS.train} and granted`);
      // The trainer learns of it by the end of the connection.
      await new Promise((resolve) => setTimeout(resolve, 300));
    });
    await assert.rejects(runNextRound(connection, trainer, onProgress));
    const interrupted = await getRound(id);
    assert.equal(interrupted.status, 'running');
    // Too late for this round, unless it was still selecting.
    await collect(1, `Late for ${stage}`);
    await runNextRound(connection, context, () => {});
    const round = await getRound(id);
    assert.deepEqual([round.stage, round.parent_id, round.baseline_id], ['active', root, second], round.reason ?? '');
    if (stage !== 'selecting') assert.deepEqual(round.pairs, interrupted.pairs);
  });

  test(`a round from the root that is cancelled while ${stage} ends at once, publishes nothing, and its pairs stay new`, async () => {
    await activatePolicy(db, second, 'test');
    const fresh = await countNewPairs(db);
    const id = await requestLearnable();
    const { trainer, onProgress } = pauseIn(context, stage, async () => {
      const { status, body } = await server.request(`/v1/rounds/${id}/cancel`, { method: 'POST' });
      assert.deepEqual(
        [status, body.status, body.stage, body.reason],
        [200, 'cancelled', 'cancelled', `cancelled while ${stage}`],
      );
    });
    assert.equal(await runNextRound(connection, trainer, onProgress), true);
    const round = await getRound(id);
    assert.deepEqual([round.status, round.policy_id], ['cancelled', null]);
    assert.equal((await getMessages(id)).at(-1), `cancelled while ${stage}`);
    assert.equal(await db.$count(policies, eq(policies.round_id, id)), 0);
    assert.deepEqual([await getActivePolicyId(db), await countNewPairs(db)], [second, fresh]);
    const events = await db.select().from(webhook_events).where(sql`data->>'id' = ${id}`);
    assert.deepEqual(
      events.map(({ type }) => type),
      ['round.cancelled'],
    );
  });
}

test('a round that is cancelled after it published leaves its policy inactive, and its pairs new', async () => {
  await activatePolicy(db, second, 'test');
  const fresh = await countNewPairs(db);
  const id = await requestLearnable();
  // A cancel that comes with the end of the transaction that publishes.
  await db.execute(sql`
    create function cancel_round() returns trigger language plpgsql as $$
    begin
      update rounds set status = 'cancelled', stage = 'cancelled', finished_at = now() where id = new.round_id;
      return null;
    end $$`);
  await db.execute(sql`
    create constraint trigger cancel_round after insert on policies deferrable initially deferred
    for each row execute function cancel_round()`);
  await runNextRound(connection, context, () => {});
  await db.execute(sql`drop function cancel_round cascade`);
  const published = await db.$count(policies, eq(policies.round_id, id));
  assert.deepEqual([(await getRound(id)).status, published], ['cancelled', 1]);
  assert.deepEqual([await getActivePolicyId(db), await countNewPairs(db)], [second, fresh]);
});

test('a queued round is cancelled without a trainer, and one that has ended is not', async () => {
  const id = await requestLearnable();
  const cancel = () => server.request(`/v1/rounds/${id}/cancel`, { method: 'POST' });
  assert.equal((await cancel()).body.reason, 'cancelled while queued');
  assert.equal(await runNextRound(connection, context, () => {}), false);
  const { status, body } = await cancel();
  assert.deepEqual([status, body.error.code], [409, 'round_ended']);
});

test('a round from the root without enough memory fails with the numbers, and the active policy stays', async () => {
  await activatePolicy(db, second, 'test');
  const changes = { TRAIN_MEMORY: 2 ** 26 };
  assert.match((await preview(changes)).decision!, /^it would fail: .*GiB/);
  const round = await train({ epochs: 1 }, { fromRoot: true, changes });
  assert.equal(round.status, 'failed');
  assert.match(round.reason!, /memory/i);
  assert.equal(await getActivePolicyId(db), second);
});

test('a root whose package is gone is named, by the round and by the dry run', async () => {
  const folder = path.join(policiesFolder(settings), root);
  await rename(folder, `${folder}.gone`);
  try {
    const problem = new RegExp(`^${root}, the root of ${second}, cannot be read \\(.*restore its package, or import`);
    await assert.rejects(preview(), { code: 'root_missing', message: problem });
    // A reward has no reference.
    const lines = await previewRound({ ...context, settings }, db, { method: 'reward' });
    assert.match(lines.find(({ name }) => name === 'decision')!.text, /^it would run/);
    const round = await train({ epochs: 1 }, { fromRoot: true });
    assert.equal(round.status, 'failed');
    assert.match(round.reason!, problem);
  } finally {
    await rename(`${folder}.gone`, folder);
  }
});

test('a round that unlearns what earlier ones taught warns of each of them', async () => {
  await activatePolicy(db, second, 'test');
  await collect(60, 'Inverted', [' no no', ' yes yes']);
  const round = await train({ epochs: 10 }, { changes: { TRAIN_REPLAY: 0 } });
  const forgotten = round.earlier_rounds!.filter((earlier) => earlier.forgotten);
  assert.ok(forgotten.length > 0, JSON.stringify(round.earlier_rounds));
  const warnings = (await getMessages(round.id)).filter((message) => message.startsWith('forgotten: the margin of '));
  assert.equal(warnings.length, forgotten.length);
  for (const { round: id } of forgotten) assert.ok(warnings.some((message) => message.includes(id)));
});
