// What becomes of the policy of a round that passed the gate: a canary, or active, and never both.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { asc, eq } from 'drizzle-orm';
import { BY_ITSELF, rollBackCanary } from '../shared/canary/canaries.ts';
import { activations, audit_events, canaries, policies, round_events, rounds } from '../shared/database/schema.ts';
import { countNewPairs } from '../shared/rounds/pairs.ts';
import { findObstacle } from '../shared/rounds/schedule.ts';
import type { Settings } from '../shared/settings.ts';
import { activatePolicy, getActivePolicyId, readServing } from '../shared/store/registry.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { requestLearnableRound } from '../testing/learnable-round.ts';
import { pauseIn } from '../testing/pause-round.ts';
import { storePolicyVotes } from '../testing/stored-rows.ts';
import { type ProgressListener, runNextRound } from '../trainer/main.ts';
import { InterruptedError } from '../trainer/stages/log.ts';

const server = await startEdgeServer({
  LEARNING_RATE: '0.001',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  BATCH_PAIRS: '8',
});
const { connection, settings, localStore } = server;
const { db } = connection;

const withSettings = (changes: Partial<Settings>) => ({ settings: { ...settings, ...changes }, store: localStore });
const ON = withSettings({ CANARY: 'on', CANARY_SHARE: 0.25 });

let names = 0;
beforeEach(async () => {
  await db.execute('truncate canaries, audit_events');
  await activatePolicy(db, server.policyId, 'test');
});

const requestLearnable = () => requestLearnableRound(server, `Canary ${names++}`);
const run = (trainer = ON) => runNextRound(connection, trainer, () => {});
const getRound = async (id: string) => (await db.select().from(rounds).where(eq(rounds.id, id)))[0]!;
const listCanaries = async () =>
  (await db.select().from(canaries).orderBy(asc(canaries.id))).map(({ policy_id, baseline_id, state }) => [
    policy_id,
    baseline_id,
    state,
  ]);
const vote = (count: number) =>
  storePolicyVotes(
    db,
    'default',
    Array.from({ length: count }, (_, at) => ({
      a: 'pol_x',
      b: 'pol_y',
      canary: 'canary_earlier',
      choice: 'a' as const,
      rater: `user:${at}`,
      prompt: `voted ${at}`,
    })),
  );

test('with CANARY=on the policy of a round is a canary, and the schedule waits for it', async () => {
  const id = await requestLearnable();
  assert.equal(await run(), true);
  const round = await getRound(id);
  assert.deepEqual([round.status, round.stage], ['succeeded', 'canary'], round.reason ?? '');
  const [row] = await db.select().from(canaries);
  assert.deepEqual(
    [row!.policy_id, row!.baseline_id, row!.round_id, row!.state, row!.share, row!.created_by],
    [round.policy_id, server.policyId, id, 'running', 0.25, 'trainer'],
  );
  const { activeId, canary } = await readServing(db);
  assert.deepEqual([activeId, canary?.policyId], [server.policyId, round.policy_id]);
  const events = await db
    .select()
    .from(round_events)
    .where(eq(round_events.round_id, id))
    .orderBy(asc(round_events.id));
  assert.deepEqual(events.at(-1)?.data, { stage: 'canary', status: 'succeeded' });
  assert.deepEqual(
    (await db.select().from(audit_events)).map(({ actor, action }) => [actor, action]),
    [['trainer', 'canary.started']],
  );
  assert.equal(await findObstacle(db, settings), `${round.policy_id} is a canary (${row!.id})`);
});

test('a trainer that is killed between publishing and the canary leaves both to the next one, which starts one', async () => {
  const id = await requestLearnable();
  const stop = new AbortController();
  const killed = runNextRound(
    connection,
    ON,
    (_round, { stage }) => {
      if (stage === 'activating') stop.abort(new Error('killed'));
    },
    stop.signal,
  );
  await assert.rejects(killed, InterruptedError);
  const left = await getRound(id);
  assert.deepEqual([left.status, left.stage], ['running', 'activating']);
  assert.deepEqual(await listCanaries(), []);
  assert.equal(await run(), true);
  assert.equal((await getRound(id)).stage, 'canary');
  assert.deepEqual(await listCanaries(), [[left.policy_id, server.policyId, 'running']]);
  assert.equal(await db.$count(policies, eq(policies.round_id, id)), 1);
});

test('while one policy is a canary, that of another round is published, and says why it is not active', async () => {
  const first = await requestLearnable();
  await run();
  for (const trainer of [ON, withSettings({ CANARY: 'off' })]) {
    const second = await requestLearnable();
    assert.equal(await run(trainer), true);
    const { status, stage, reason } = await getRound(second);
    assert.deepEqual([status, stage], ['succeeded', 'published']);
    assert.match(reason!, /^published, not active: pol_\S+ is a canary \(canary_\S+\), and /);
  }
  assert.deepEqual(await listCanaries(), [[(await getRound(first)).policy_id, server.policyId, 'running']]);
});

test('if an operator makes another policy active while a round publishes, its policy is no canary', async () => {
  const promoted = await server.importTiny(7);
  const id = await requestLearnable();
  const { trainer, onProgress } = pauseIn(ON, 'publishing', () => activatePolicy(db, promoted, 'promoted'));
  assert.equal(await runNextRound(connection, trainer, onProgress), true);
  const { stage, reason } = await getRound(id);
  assert.equal(stage, 'published');
  assert.equal(reason, `published, not active: ${promoted} became active in place of ${server.policyId}`);
  assert.deepEqual(await listCanaries(), []);
});

test('with CANARY=auto the policy is active at once and watched, unless people vote', async () => {
  const auto = withSettings({ CANARY: 'auto', CANARY_MIN_VOTES: 10 });
  await vote(9);
  const first = await requestLearnable();
  assert.equal(await run(auto), true);
  const { stage, policy_id } = await getRound(first);
  assert.equal(stage, 'active');
  assert.equal(await getActivePolicyId(db), policy_id);
  assert.deepEqual(await listCanaries(), [[policy_id, server.policyId, 'watching']]);
  await vote(1);
  await db.execute('truncate canaries');
  await activatePolicy(db, server.policyId, 'test');
  const second = await requestLearnable();
  assert.equal(await run(auto), true);
  const tried = await getRound(second);
  assert.deepEqual([tried.stage, await getActivePolicyId(db)], ['canary', server.policyId]);
});

test('a round keeps what its gate said, beside why the canary of its policy ended', async () => {
  const id = await requestLearnable();
  await run();
  const before = (await server.request(`/v1/rounds/${id}`)).body;
  const [row] = await db.select().from(canaries);
  assert.deepEqual(before.canary, { id: row!.id, state: 'running', reason: null });
  assert.match(before.reason, /^gate: agrees with the raters more than /);
  const change = { actor: BY_ITSELF, reason: 'people prefer the other one' };
  await db.transaction((transaction) => rollBackCanary(transaction, row!.id, 'running', change));
  const after = (await server.request(`/v1/rounds/${id}`)).body;
  assert.deepEqual([after.status, after.stage, after.reason], ['succeeded', 'rolled_back', before.reason]);
  assert.deepEqual(after.canary, { id: row!.id, state: 'rolled_back', reason: change.reason });
  assert.deepEqual((await server.request('/v1/rounds?limit=1')).body.data[0].canary, after.canary);
  const events = await (await fetch(`${server.edge.url}/v1/rounds/${id}/events`)).text();
  assert.ok(events.includes(change.reason));
  // Tried again by an operator, it is judged by its last canary.
  const again = (await server.request(`/v1/policies/${before.policy}/canary`, { json: {} })).body;
  assert.deepEqual((await server.request(`/v1/rounds/${id}`)).body.canary, {
    id: again.id,
    state: 'running',
    reason: null,
  });
  await server.request(`/v1/canaries/${again.id}/cancel`, { method: 'POST' });
  const cancelled = (await server.request(`/v1/rounds/${id}`)).body;
  assert.deepEqual(
    [cancelled.stage, cancelled.reason, cancelled.canary.state],
    ['published', before.reason, 'cancelled'],
  );
});

test('a round whose policy is a canary has ended: to cancel it is refused, to cancel the canary makes its pairs new', async () => {
  const fresh = await countNewPairs(db);
  const id = await requestLearnable();
  await run();
  const { policy, reason, canary } = (await server.request(`/v1/rounds/${id}`)).body;
  const { status, body } = await server.request(`/v1/rounds/${id}/cancel`, { method: 'POST' });
  assert.deepEqual([status, body.error.code], [409, 'round_ended']);
  assert.match(
    body.error.message,
    new RegExp(`its policy is a canary, which ends by POST /v1/canaries/${canary.id}/cancel`),
  );
  assert.deepEqual(await listCanaries(), [[policy, server.policyId, 'running']]);
  assert.equal((await server.request(`/v1/canaries/${canary.id}/cancel`, { method: 'POST' })).status, 200);
  const after = (await server.request(`/v1/rounds/${id}`)).body;
  assert.deepEqual([after.status, after.stage, after.reason], ['succeeded', 'published', reason]);
  assert.equal(await getActivePolicyId(db), server.policyId);
  assert.equal(await countNewPairs(db), fresh + 30);
});

test('a round that is cancelled when an operator already tries its policy stays cancelled, whatever becomes of the canary', async () => {
  const fresh = await countNewPairs(db);
  const id = await requestLearnable();
  const stop = new AbortController();
  const stopInTime: ProgressListener = (_round, { stage }) => {
    if (stage === 'activating') stop.abort(new Error('stopped'));
  };
  await assert.rejects(runNextRound(connection, ON, stopInTime, stop.signal), InterruptedError);
  const { policy } = (await server.request(`/v1/rounds/${id}`)).body;
  const started = await server.request(`/v1/policies/${policy}/canary`, { json: {} });
  assert.equal(started.status, 200);
  const { body } = await server.request(`/v1/rounds/${id}/cancel`, { method: 'POST' });
  assert.deepEqual(
    [body.status, body.reason, body.canary.state],
    ['cancelled', 'cancelled while activating', 'running'],
  );
  assert.equal(await run(), false, 'nothing is left for a trainer');
  assert.equal(await countNewPairs(db), fresh + 30);
  assert.equal((await server.request(`/v1/canaries/${started.body.id}/cancel`, { method: 'POST' })).status, 200);
  const after = (await server.request(`/v1/rounds/${id}`)).body;
  assert.deepEqual([after.status, after.stage, after.reason], ['cancelled', 'cancelled', body.reason]);
  assert.equal(await countNewPairs(db), fresh + 30);
});

test('a policy that is rolled back is no parent: the next round trains from the policy that answers', async () => {
  const first = await requestLearnable();
  await run();
  const [row] = await db.select().from(canaries);
  const change = { actor: BY_ITSELF, reason: 'worse' };
  await db.transaction((transaction) => rollBackCanary(transaction, row!.id, 'running', change));
  const rolledBack = await getRound(first);
  assert.equal(rolledBack.stage, 'rolled_back');
  const second = await requestLearnable();
  await run();
  const round = await getRound(second);
  assert.deepEqual([round.parent_id, round.baseline_id], [server.policyId, server.policyId]);
  assert.ok(round.pairs!.new > 30, 'the pairs of the rolled-back policy are new again');
  assert.equal(await db.$count(activations, eq(activations.policy_id, rolledBack.policy_id!)), 0);
});
