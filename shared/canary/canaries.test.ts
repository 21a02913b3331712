import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { asc, eq } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import type { Database } from '../database/connect.ts';
import { activations, audit_events, canaries, round_events, rounds, webhook_events } from '../database/schema.ts';
import type { CanaryRow } from '../store/canary-states.ts';
import {
  activatePolicy,
  activateSuccessor,
  findRollbackTarget,
  getActivePolicyId,
  readServing,
  registerPolicy,
  rollBackPolicy,
} from '../store/registry.ts';
import {
  BY_ITSELF,
  cancelCanary,
  expireCanary,
  getCanary,
  keepPolicy,
  promoteCanary,
  rollBackCanary,
  startCanary,
} from './canaries.ts';

const { db } = await openTestDatabase();
const round = { status: 'succeeded', stage: 'canary', trigger: 'schedule', settings: {} } as const;
await db.insert(rounds).values({ id: 'round_b', ...round });
for (const id of ['pol_a', 'pol_b', 'pol_c'])
  await registerPolicy(db, { id, name: id, manifest: {}, round_id: id === 'pol_b' ? 'round_b' : null });
await registerPolicy(db, { id: 'rwd_a', kind: 'reward', name: 'a', manifest: {} });

beforeEach(async () => {
  await db.delete(canaries);
  await db.delete(activations);
  await activatePolicy(db, 'pol_a', 'first');
  await db.update(rounds).set({ stage: 'canary', reason: 'passed the gate' });
  await db.delete(round_events);
  await db.delete(webhook_events);
  await db.execute('truncate audit_events');
});

const actor = 'key_operator';
const inTransaction = <T>(work: (transaction: Database) => Promise<T>) => db.transaction(work);
const start = (policyId = 'pol_b', fields = {}) =>
  inTransaction((transaction) => startCanary(transaction, { policyId, share: 0.1, actor, ...fields }));
const promote = (id: string, watchHours = 24) =>
  inTransaction((transaction) => promoteCanary(transaction, id, { actor: BY_ITSELF, reason: 'better', watchHours }));
const change = (
  by: (transaction: Database, id: string, change: { actor: string; reason: string }) => Promise<CanaryRow | null>,
  id: string,
  reason = 'because',
) => inTransaction((transaction) => by(transaction, id, { actor, reason }));

const endRunning = (transaction: Database, id: string, why: { actor: string; reason: string }) =>
  rollBackCanary(transaction, id, 'running', why);
const endWatched = (transaction: Database, id: string, why: { actor: string; reason: string }) =>
  rollBackCanary(transaction, id, 'watching', why);

const listAudit = async () =>
  (await db.select().from(audit_events).orderBy(asc(audit_events.id))).map((row) => `${row.actor} ${row.action}`);
const listEvents = async () =>
  (await db.select().from(webhook_events).orderBy(asc(webhook_events.id))).map(({ type }) => type);
const readRound = async () => (await db.select().from(rounds).where(eq(rounds.id, 'round_b')))[0]!;
const readRows = async () =>
  (await db.select().from(canaries).orderBy(asc(canaries.id))).map(
    ({ policy_id, baseline_id, state }) => `${policy_id} on ${baseline_id}: ${state}`,
  );

describe('starting a canary', () => {
  test('gives a policy a share beside the active one, with an audit line and a webhook event', async () => {
    const row = await start();
    assert.match(row.id, /^canary_/);
    assert.deepEqual(
      [row.policy_id, row.baseline_id, row.state, row.round_id, row.created_by],
      ['pol_b', 'pol_a', 'running', 'round_b', actor],
    );
    assert.deepEqual(await readServing(db), {
      activeId: 'pol_a',
      canary: { id: row.id, policyId: 'pol_b', baselineId: 'pol_a', share: row.share },
    });
    assert.ok(Math.abs(row.share - 0.1) < 1e-6);
    assert.deepEqual(await listAudit(), [`${actor} canary.started`]);
    assert.deepEqual(await listEvents(), ['canary.started']);
  });

  test('a second one is refused, also of the same policy', async () => {
    const { id } = await start();
    for (const policy of ['pol_c', 'pol_b'])
      await assert.rejects(start(policy), {
        status: 409,
        code: 'canary_running',
        message: `pol_b is a canary (${id}), and there is one at a time; wait until it is decided, or cancel it: POST /v1/canaries/${id}/cancel`,
      });
    assert.deepEqual(await readRows(), ['pol_b on pol_a: running']);
  });

  test('of ten at once one starts', async () => {
    const results = await Promise.allSettled(Array.from({ length: 10 }, (_, at) => start(at % 2 ? 'pol_b' : 'pol_c')));
    const refused = results.filter((result) => result.status === 'rejected');
    assert.equal(refused.length, 9);
    for (const { reason } of refused) assert.equal(reason.code, 'canary_running');
    assert.deepEqual(await listEvents(), ['canary.started']);
  });

  test('the active policy, a reward and what does not exist are refused', async () => {
    await assert.rejects(start('pol_a'), { status: 409, code: 'policy_active' });
    await assert.rejects(start('rwd_a'), { code: 'reward_not_policy' });
    await assert.rejects(start('pol_none'), { status: 404, code: 'model_not_found' });
    assert.deepEqual(await readRows(), []);
  });

  test('is refused without an active policy, and if another one became active than was expected', async () => {
    await assert.rejects(start('pol_b', { baselineId: 'pol_c' }), {
      status: 409,
      code: 'activation_conflict',
      message: 'pol_a became active in place of pol_c',
    });
    await db.delete(activations);
    await assert.rejects(start(), { status: 409, code: 'no_active_policy' });
    assert.deepEqual(await readServing(db), { activeId: null, canary: null });
  });
});

describe('a canary that runs', () => {
  test('is promoted: it is active, its round too, and it is watched', async () => {
    const { id } = await start();
    const row = (await promote(id))!;
    assert.equal(row.state, 'watching');
    assert.equal(row.reason, 'better');
    assert.ok(row.promoted_at && !row.ended_at);
    assert.deepEqual(await readServing(db), { activeId: 'pol_b', canary: null });
    assert.deepEqual(await listAudit(), [`${actor} canary.started`, 'canary canary.promoted']);
    assert.deepEqual(await listEvents(), ['canary.started', 'policy.activated', 'canary.promoted']);
    const { stage, status, reason } = await readRound();
    assert.deepEqual([stage, status, reason], ['active', 'succeeded', 'passed the gate']);
    const events = await db.select().from(round_events);
    assert.deepEqual(
      events.map(({ type, message, data }) => [type, message, data]),
      [['stage', 'better', { stage: 'active', status: 'succeeded' }]],
    );
    assert.equal(await promote(id), null);
  });

  test('is kept at once where nothing is watched', async () => {
    const { id } = await start();
    const row = (await promote(id, 0))!;
    assert.equal(row.state, 'kept');
    assert.ok(row.promoted_at && row.ended_at);
    assert.equal(await getActivePolicyId(db), 'pol_b');
  });

  for (const [by, state, audit, event, stage] of [
    [endRunning, 'rolled_back', 'canary.rolled_back', 'policy.rolled_back', 'rolled_back'],
    [expireCanary, 'expired', 'canary.expired', 'canary.ended', 'published'],
    [cancelCanary, 'cancelled', 'canary.cancelled', 'canary.ended', 'published'],
  ] as const)
    test(`that ends as ${state} leaves the active policy`, async () => {
      const { id } = await start();
      const row = (await change(by, id))!;
      assert.equal(row.state, state);
      assert.ok(row.ended_at && !row.promoted_at);
      assert.deepEqual(await readServing(db), { activeId: 'pol_a', canary: null });
      assert.deepEqual(await listAudit(), [`${actor} canary.started`, `${actor} ${audit}`]);
      assert.deepEqual(await listEvents(), ['canary.started', event]);
      const ended = await readRound();
      assert.equal(row.reason, 'because');
      assert.deepEqual([ended.stage, ended.status, ended.reason], [stage, 'succeeded', 'passed the gate']);
      for (const again of [endRunning, endWatched, expireCanary, cancelCanary, keepPolicy])
        assert.equal(await change(again, id), null);
      assert.equal(await promote(id), null);
      assert.equal((await listAudit()).length, 2);
      assert.equal((await start('pol_c')).state, 'running');
    });

  test('is promoted by an operator who promotes its policy', async () => {
    const { id } = await start();
    await activatePolicy(db, 'pol_b', 'promoted', { actor, watchHours: 24 });
    assert.deepEqual(await readRows(), ['pol_b on pol_a: watching']);
    assert.deepEqual(await listAudit(), [`${actor} canary.started`, `${actor} canary.promoted`]);
    assert.equal((await getCanary(db, id)).reason, 'promoted');
  });

  test('is cancelled by the promotion of another policy, which is watched', async () => {
    await start();
    await activatePolicy(db, 'pol_c', 'promoted', { actor, watchHours: 24 });
    assert.deepEqual(await readRows(), ['pol_b on pol_a: cancelled', 'pol_c on pol_a: watching']);
    assert.deepEqual(await readServing(db), { activeId: 'pol_c', canary: null });
    assert.deepEqual(await listEvents(), ['canary.started', 'policy.activated', 'canary.ended']);
  });

  test('is cancelled by a rollback of the active policy', async () => {
    await activatePolicy(db, 'pol_c', 'promoted');
    await start();
    await rollBackPolicy(db, await findRollbackTarget(db), { actor });
    assert.deepEqual(await readRows(), ['pol_b on pol_c: cancelled']);
    assert.deepEqual(await readServing(db), { activeId: 'pol_a', canary: null });
  });

  test('is cancelled by a rollback to its own policy, whatever the reason was: nothing was decided about it', async () => {
    await activatePolicy(db, 'pol_b', 'promoted');
    await activatePolicy(db, 'pol_c', 'promoted', { actor, watchHours: 24 });
    const { id } = await start('pol_b');
    const [watched] = await db.select().from(canaries).where(eq(canaries.state, 'watching'));
    await change(endWatched, watched!.id, 'too many errors');
    assert.deepEqual(await readRows(), ['pol_c on pol_b: rolled_back', 'pol_b on pol_c: cancelled']);
    assert.equal((await getCanary(db, id)).reason, 'pol_b became active again by a rollback');
    assert.deepEqual(await readServing(db), { activeId: 'pol_b', canary: null });
    assert.ok(!(await listEvents()).includes('canary.promoted'));
    assert.equal((await readRound()).stage, 'active');
  });

  test('goes on when the active policy is promoted once more', async () => {
    const { id } = await start();
    await activatePolicy(db, 'pol_a', 'promoted', { actor, watchHours: 24 });
    assert.deepEqual(await readRows(), ['pol_b on pol_a: running']);
    assert.equal((await readServing(db)).canary?.id, id);
  });

  test('keeps the policy of a round from becoming active beside it', async () => {
    await start();
    assert.equal(await activateSuccessor(db, 'pol_c', 'pol_a', 'published'), false);
    assert.deepEqual(await readServing(db).then(({ activeId }) => activeId), 'pol_a');
  });
});

describe('a policy that is watched', () => {
  const watch = () => activatePolicy(db, 'pol_b', 'promoted', { actor, watchHours: 24 });
  const readWatch = async () => (await db.select().from(canaries).orderBy(asc(canaries.id)))[0]!;

  test('is any new one, with the one before as its baseline', async () => {
    await watch();
    assert.deepEqual(await readRows(), ['pol_b on pol_a: watching']);
    const row = await readWatch();
    assert.deepEqual([row.round_id, row.share, row.created_by], ['round_b', 0, actor]);
    assert.deepEqual(await listAudit(), [`${actor} policy.watched`]);
    assert.deepEqual(await readServing(db), { activeId: 'pol_b', canary: null });
    await watch();
    assert.deepEqual(await readRows(), ['pol_b on pol_a: watching'], 'promoting it again changes nothing');
  });

  test('is rolled back to its baseline, which a later rollback does not undo', async () => {
    await watch();
    const row = (await change(endWatched, (await readWatch()).id, 'errors'))!;
    assert.equal(row.state, 'rolled_back');
    assert.equal(await getActivePolicyId(db), 'pol_a');
    assert.deepEqual(await listEvents(), ['policy.activated', 'policy.activated', 'policy.rolled_back']);
    const { stage, reason } = await readRound();
    assert.deepEqual([stage, reason, row.reason], ['rolled_back', 'passed the gate', 'errors']);
    const [last] = (await db.select().from(activations).orderBy(asc(activations.id))).slice(-1);
    assert.equal(last!.reason, 'rollback from pol_b: errors');
    await assert.rejects(findRollbackTarget(db), { status: 409 });
  });

  test('is kept when its watch is over, or an operator ends it', async () => {
    for (const by of [keepPolicy, cancelCanary]) {
      await db.delete(canaries);
      await activatePolicy(db, 'pol_a', 'again');
      await watch();
      assert.equal((await change(by, (await readWatch()).id))!.state, 'kept');
      assert.equal(await getActivePolicyId(db), 'pol_b');
    }
  });

  test('is rolled back by an operator, and its baseline is not watched against it', async () => {
    await watch();
    await rollBackPolicy(db, await findRollbackTarget(db), { actor });
    assert.deepEqual(await readRows(), ['pol_b on pol_a: rolled_back']);
    await db.delete(canaries);
    await watch();
    await activatePolicy(db, 'pol_a', 'promoted', { actor, watchHours: 24 });
    assert.deepEqual(await readRows(), ['pol_b on pol_a: rolled_back']);
  });

  test('goes on being watched when it is promoted again over what a version without canaries made active', async () => {
    await watch();
    await db.insert(activations).values({ policy_id: 'pol_c', reason: 'promoted' });
    await watch();
    assert.deepEqual(await readRows(), ['pol_b on pol_a: watching']);
    assert.equal(await getActivePolicyId(db), 'pol_b');
  });

  test('gives its place to the next one', async () => {
    await watch();
    await activatePolicy(db, 'pol_c', 'promoted', { actor, watchHours: 24 });
    assert.deepEqual(await readRows(), ['pol_b on pol_a: kept', 'pol_c on pol_b: watching']);
  });

  test('is the baseline of a canary, which ends with it', async () => {
    await watch();
    await start('pol_c');
    await change(endWatched, (await readWatch()).id);
    assert.deepEqual(await readRows(), ['pol_b on pol_a: rolled_back', 'pol_c on pol_b: cancelled']);
    assert.deepEqual(await readServing(db), { activeId: 'pol_a', canary: null });
  });

  test('gives its place to a canary that is promoted', async () => {
    await watch();
    const { id } = await start('pol_c');
    await promote(id);
    assert.deepEqual(await readRows(), ['pol_b on pol_a: kept', 'pol_c on pol_b: watching']);
  });
});

test('of ten changes at once one happens, with one audit line and one event', async () => {
  const { id } = await start();
  const changes = [endRunning, expireCanary, cancelCanary];
  const results = await Promise.all(
    Array.from({ length: 10 }, (_, at) => (at === 9 ? promote(id) : change(changes[at % 3]!, id))),
  );
  assert.equal(results.filter((row) => row !== null).length, 1);
  assert.equal((await listAudit()).length, 2);
  assert.ok((await listEvents()).filter((type) => !['canary.started', 'policy.activated'].includes(type)).length === 1);
});

test('a decision about a canary that was made for another state of it, or while another policy was active, changes nothing', async () => {
  const { id } = await start();
  for (const by of [endWatched, keepPolicy]) assert.equal(await change(by, id), null);
  await promote(id);
  for (const by of [endRunning, expireCanary]) assert.equal(await change(by, id), null);
  assert.equal(await promote(id), null);
  assert.deepEqual(await readRows(), ['pol_b on pol_a: watching']);
  // As a version does that knows no canaries.
  await db.insert(activations).values({ policy_id: 'pol_c', reason: 'promoted' });
  for (const by of [endWatched, keepPolicy]) assert.equal(await change(by, id), null);
  assert.deepEqual(await readRows(), ['pol_b on pol_a: watching']);
  assert.equal(await getActivePolicyId(db), 'pol_c');
});

test('a change that fails leaves the canary as it was', async () => {
  const { id } = await start();
  await db.execute('alter table webhook_events rename to elsewhere');
  await assert.rejects(promote(id));
  await db.execute('alter table elsewhere rename to webhook_events');
  assert.equal((await getCanary(db, id)).state, 'running');
  assert.equal(await getActivePolicyId(db), 'pol_a');
  assert.equal((await readRound()).stage, 'canary');
});

test('an unknown canary is a 404', async () => {
  await assert.rejects(getCanary(db, 'canary_none'), { status: 404, code: 'not_found' });
});
