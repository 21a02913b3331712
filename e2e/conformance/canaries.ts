// Canaries through the API: one is started, told, judged and ended; and what bad input gets. What decides about them has its
// tests in shared/canary/.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { eq } from 'drizzle-orm';
import { canaries, policies } from '../../shared/database/schema.ts';
import { activatePolicy } from '../../shared/store/registry.ts';
import type { Json } from '../../testing/edge-server.ts';
import { storePolicyVotes } from '../../testing/stored-rows.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';

export function testCanaries(api: Api): void {
  const { request, server } = api;
  const { db } = server.connection;
  let candidate = '';
  let baseline = '';
  const post = (path: string, json: object = {}, headers: Record<string, string> = {}) =>
    request(path, { json, headers: { authorization: `Bearer ${KEYS[0]}`, ...headers } });
  const start = (policy: string, json: object = {}, headers = {}) =>
    post(`/v1/policies/${policy}/canary`, json, headers);
  const stateOf = async (policy: string) => (await request(`/v1/policies/${policy}`)).body.state;
  const loop = async (): Promise<Json> => (await request('/v1/loop')).body;

  before(async () => {
    candidate = await api.importTiny(api.runtime === 'node' ? 21 : 22);
    baseline = (await loop()).active.policy;
  });

  test('a policy becomes a canary, is told everywhere as one, and is idle again when an operator ends it', async () => {
    assert.deepEqual([await stateOf(candidate), await stateOf(baseline)], ['idle', 'active']);
    assert.ok((await request(`/v1/policies/${candidate}`)).body.bytes > 1000);
    const headers = { 'idempotency-key': `canary ${candidate}` };
    const started = await start(candidate, { share: 0.25 }, headers);
    assert.equal(started.status, 200, started.text);
    const { body } = started;
    assert.match(body.id, /^canary_/);
    assert.deepEqual(
      [body.object, body.policy, body.baseline, body.round, body.state, body.share],
      ['canary', candidate, baseline, null, 'running', 0.25],
    );
    assert.deepEqual([body.promoted_at, body.ended_at], [null, null]);
    assert.ok(body.closes_at > body.created);
    const { wins, losses, ties, both_bad, repeated, over_limit, raters } = body.votes;
    assert.deepEqual([wins, losses, ties, both_bad, repeated, over_limit, raters], [0, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual([body.evidence.better, body.evidence.worse, body.evidence.win_rate], [0, 0, null]);
    assert.ok(Math.abs(body.evidence.threshold - Math.log10(20)) < 1e-9);
    assert.ok(body.guards.length > 0);
    // Again: the same response, and no second canary.
    assert.deepEqual((await start(candidate, { share: 0.25 }, headers)).body, body);

    assert.deepEqual([await stateOf(candidate), await stateOf(baseline)], ['canary', 'active']);
    const { data } = (await request('/v1/policies?limit=100')).body;
    assert.equal(data.find(({ id }: Json) => id === candidate).state, 'canary');
    assert.equal((await request(`/v1/canaries/${body.id}`)).body.id, body.id);
    assert.equal((await request('/v1/canaries?limit=1')).body.data[0].id, body.id);
    await waitUntil(async () => (await loop()).canary?.id === body.id);

    const cancel = { 'idempotency-key': `cancel ${candidate}` };
    const ended = await post(`/v1/canaries/${body.id}/cancel`, {}, cancel);
    assert.equal(ended.status, 200, ended.text);
    assert.deepEqual([ended.body.state, ended.body.closes_at], ['cancelled', null]);
    assert.ok(ended.body.ended_at && ended.body.reason);
    assert.deepEqual((await post(`/v1/canaries/${body.id}/cancel`, {}, cancel)).body, ended.body);
    const again = await post(`/v1/canaries/${body.id}/cancel`);
    assertError(again, 409);
    assert.equal(again.body.error.code, 'canary_ended');
    assert.deepEqual([await stateOf(candidate), (await loop()).canary], ['idle', null]);
    const audited = (await request('/v1/audit?limit=20')).body.data.filter(({ target }: Json) => target === body.id);
    assert.deepEqual(
      audited.map(({ action }: Json) => action),
      ['canary.cancelled', 'canary.started'],
    );
  });

  test('the evidence of a canary is told after each vote that counts', async () => {
    const { id } = (await start(candidate)).body;
    await storePolicyVotes(
      db,
      'default',
      Array.from({ length: 6 }, (_, at) => ({
        a: candidate,
        b: baseline,
        choice: at < 5 ? ('a' as const) : ('b' as const),
        rater: `rater ${at} ${api.runtime}`,
        prompt: `canary ${api.runtime} ${at}`,
        canary: id,
      })),
    );
    const { votes, evidence } = (await request(`/v1/canaries/${id}`)).body;
    assert.deepEqual([votes.wins, votes.losses, votes.raters], [5, 1, 6]);
    assert.ok(evidence.win_rate.interval.low < 5 / 6 && evidence.win_rate.interval.high > 5 / 6);
    const { status, body } = await request(`/v1/canaries/${id}/evidence`);
    assert.equal(status, 200);
    assert.deepEqual([body.object, body.canary, body.threshold], ['canary_evidence', id, evidence.threshold]);
    assert.deepEqual(
      body.data.map((point: Json) => [point.votes, point.wins, point.losses]),
      [
        [1, 1, 0],
        [2, 2, 0],
        [3, 3, 0],
        [4, 4, 0],
        [5, 5, 0],
        [6, 5, 1],
      ],
    );
    assert.deepEqual([body.data.at(-1).better, body.data.at(-1).worse], [evidence.better, evidence.worse]);
    await post(`/v1/canaries/${id}/cancel`);
  });

  test('a second canary, one of the active policy, and one of a policy that does not exist or cannot be served are refused', async () => {
    const { id } = (await start(candidate)).body;
    const other = await api.importTiny(api.runtime === 'node' ? 23 : 24);
    const refuse = async (policy: string, status: number, code: string | null, json = {}) => {
      const response = await start(policy, json);
      assertError(response, status);
      if (code) assert.equal(response.body.error.code, code);
    };
    await refuse(other, 409, 'canary_running');
    await refuse(candidate, 409, 'canary_running');
    await refuse(baseline, 409, 'policy_active');
    await refuse('pol_none', 404, 'model_not_found');
    for (const share of [0, 0.6, -1, 'half']) {
      await refuse(other, 400, null, { share });
      assert.equal((await start(other, { share })).body.error.param, 'share');
    }
    await post(`/v1/canaries/${id}/cancel`);

    const [row] = await db.select().from(policies).where(eq(policies.id, candidate));
    const broken = `pol_broken_${api.runtime}`;
    await db.insert(policies).values({ id: broken, name: 'broken', manifest: { ...row!.manifest, id: broken } });
    const response = await start(broken);
    assert.ok(response.status >= 400 && response.status !== 500, response.text);
    assert.equal(await db.$count(canaries, eq(canaries.policy_id, broken)), 0);
    await db.delete(policies).where(eq(policies.id, broken));
    for (const path of ['canaries/canary_0', 'canaries/canary_0/evidence'])
      assertError(await request(`/v1/${path}`), 404);
    assertError(await post('/v1/canaries/canary_0/cancel'), 404);
  });

  test('promoting the candidate ends its canary and watches it, and a rollback says so', async () => {
    const { id } = (await start(candidate)).body;
    const promoted = await post(`/v1/policies/${candidate}/promote`);
    assert.equal(promoted.status, 200, promoted.text);
    const watched = (await request(`/v1/canaries/${id}`)).body;
    assert.deepEqual([watched.state, watched.policy, watched.baseline], ['watching', candidate, baseline]);
    assert.ok(watched.promoted_at && watched.closes_at);
    const now = await loop();
    assert.deepEqual([now.canary, now.watch?.id, now.active.policy], [null, id, candidate]);
    assert.equal(await stateOf(candidate), 'active');
    assert.equal((await post('/v1/policies/rollback')).body.id, baseline);
    const { body } = await request(`/v1/canaries/${id}`);
    assert.equal(body.state, 'rolled_back');
    assert.deepEqual([await stateOf(candidate), await stateOf(baseline)], ['rolled_back', 'active']);
    // As with WATCH_HOURS=0, where no canary says so.
    for (const policy of [candidate, baseline]) await activatePolicy(db, policy, 'promoted');
    assert.deepEqual([await stateOf(candidate), await stateOf(baseline)], ['idle', 'active']);
  });

  test('a candidate whose canary has ended is not promoted from it', async () => {
    const { id: ended } = (await start(candidate)).body;
    await post(`/v1/canaries/${ended}/cancel`);
    const refused = await post(`/v1/policies/${candidate}/promote`, { canary: ended });
    assertError(refused, 409);
    const { code, param, message } = refused.body.error;
    assert.deepEqual([code, param], ['activation_conflict', 'canary']);
    assert.match(
      message,
      new RegExp(`^${ended} is not a running canary of ${candidate}: ${baseline} is active, and noth`),
    );
    assert.equal(await stateOf(baseline), 'active');

    const { id } = (await start(candidate)).body;
    assert.equal((await post(`/v1/policies/${candidate}/promote`, { canary: id })).status, 200);
    assert.equal((await request(`/v1/canaries/${id}`)).body.state, 'watching');
    assert.equal((await post('/v1/policies/rollback', { from: candidate })).body.id, baseline);
  });

  test('another tenant sees canaries, and not which key started one', async () => {
    const scopes = ['read'];
    const { key } = (await request('/v1/keys', { json: { name: 'reader', scopes, tenant: `c.${api.runtime}` } })).body;
    const { body } = await request('/v1/canaries?limit=1', { headers: { authorization: `Bearer ${key}` } });
    assert.equal(body.data[0].created_by, 'a key');
    const own = (await request('/v1/canaries?limit=1')).body.data[0];
    assert.match(own.created_by, /^key_|^[a-z0-9]/);
    assert.notEqual(own.created_by, 'a key');
  });
}
