// A canary's traffic: who gets its candidate, what is recorded of that, what its comparisons and queues compare, and that votes
// decide about it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, inArray, sql } from 'drizzle-orm';
import { assign } from '../../edge/canary/assign.ts';
import { ANONYMOUS } from '../../edge/middleware/auth.ts';
import { DEFAULT_TENANT } from '../../shared/access/owner.ts';
import { cancelCanary, startCanary } from '../../shared/canary/canaries.ts';
import { canaries, comparisons, completions, generations, policy_minutes } from '../../shared/database/schema.ts';
import { activatePolicy } from '../../shared/store/registry.ts';
import type { Json } from '../../testing/edge-server.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { type Api, KEYS } from './api.ts';

const SHARE = 0.5;
const headers = { authorization: `Bearer ${KEYS[0]}` };

export function testCanaryTraffic(api: Api): void {
  const { server, request } = api;
  const { db } = server.connection;
  const baseline = server.policyId;
  /** A new one for each canary, so that nothing is known about it. */
  let candidate: string;
  let seed = 100;

  const post = async (path: string, json: Json): Promise<Json> => {
    const { status, body, text } = await request(path, { json, headers });
    assert.equal(status, 200, `${path}: ${text}`);
    return body;
  };
  const waitFor = (check: (health: Json) => boolean) =>
    waitUntil(async () => check((await request('/health')).body), 10_000);
  const withCanary = async (use: (id: string) => Promise<void>) => {
    candidate = await api.importTiny(++seed);
    const { id } = await db.transaction((transaction) =>
      startCanary(transaction, { policyId: candidate, share: SHARE, actor: 'test' }),
    );
    await waitFor((health) => health.candidate === candidate);
    try {
      await use(id);
    } finally {
      await db.transaction((transaction) => cancelCanary(transaction, id, { actor: 'test', reason: 'test' }));
      if (await isActive(candidate)) await activatePolicy(db, baseline, 'test');
      await waitFor((health) => health.candidate === null && health.policy === baseline);
    }
  };
  const isActive = async (id: string) => (await request(`/v1/policies/${id}`)).body.active;
  const findRow = async (id: string) => (await db.select().from(completions).where(eq(completions.id, id)))[0]!;
  const expected = (id: string, user: string) => {
    const caller = { tenant: DEFAULT_TENANT, key: ANONYMOUS };
    return assign({ id, share: SHARE }, caller, { user }) === 'candidate' ? candidate : baseline;
  };
  /** Of the sides a and b. */
  const findPolicies = async (comparison: string) => {
    const [row] = await db.select().from(comparisons).where(eq(comparisons.id, comparison));
    const sides = await db
      .select({ id: generations.id, policy: completions.policy_id })
      .from(generations)
      .innerJoin(completions, eq(completions.id, generations.completion_id))
      .where(inArray(generations.id, [row!.a_generation_id, row!.b_generation_id]));
    const find = (side: string) => sides.find(({ id }) => id === side)!.policy;
    return { row: row!, policies: [find(row!.a_generation_id), find(row!.b_generation_id)] };
  };

  test('a user has one policy in every operation, and the canary is recorded on both of its policies', () =>
    withCanary(async (canary) => {
      const seen = new Set<string>();
      for (let at = 0; at < 8; at++) {
        const user = `user-${at}`;
        const policy = expected(canary, user);
        seen.add(policy);
        const text = await post('/v1/completions', { prompt: `Of ${at}`, max_tokens: 2, user, model: 'attune' });
        const messages = [{ role: 'user', content: [{ type: 'text', text: `Hi ${at}` }] }];
        const chat = await post('/v1/chat/completions', { messages, max_tokens: 2, user });
        assert.deepEqual([text.model, chat.model], [policy, policy]);
        for (const { id } of [text, chat]) {
          const { policy_id, canary_id } = await findRow(id);
          assert.deepEqual([policy_id, canary_id], [policy, canary]);
        }
        const stream = await request('/v1/completions', {
          json: { prompt: `Of ${at}`, max_tokens: 2, user, stream: true, store: false },
        });
        assert.ok(stream.text.includes(policy));
      }
      assert.deepEqual(seen, new Set([baseline, candidate]));
    }));

  test('without a user a conversation keeps its policy, and a request that names a policy takes no part', () =>
    withCanary(async () => {
      const seen = new Set<string>();
      for (let at = 0; at < 8; at++) {
        const first = [{ role: 'user', content: `Tell me of ${at}` }];
        const { model } = await post('/v1/chat/completions', { messages: first, max_tokens: 2 });
        const later = [{ role: 'system', content: 'Be brief.' }, ...first, { role: 'assistant', content: 'Yes?' }];
        const messages = [...later, { role: 'user', content: 'More' }];
        assert.equal((await post('/v1/chat/completions', { messages, max_tokens: 2 })).model, model);
        seen.add(model);
      }
      assert.deepEqual(seen, new Set([baseline, candidate]));
      for (const model of [baseline, candidate]) {
        const named = await post('/v1/completions', { prompt: 'Once', max_tokens: 2, model });
        assert.deepEqual([named.model, (await findRow(named.id)).canary_id], [model, null]);
      }
    }));

  test('a comparison without models sets the candidate against the active policy; a chat’s is of one policy', () =>
    withCanary(async (canary) => {
      const orders = new Set<string>();
      for (let at = 0; orders.size < 2 && at < 30; at++) {
        const { id, a, b } = await post('/v1/comparisons', { prompt: `Once ${at}`, max_tokens: 4 });
        assert.deepEqual([a.model, b.model], [undefined, undefined]);
        const { row, policies } = await findPolicies(id);
        assert.equal(row.canary_id, canary);
        assert.deepEqual(new Set(policies), new Set([baseline, candidate]));
        orders.add(policies[0]!);
      }
      assert.equal(orders.size, 2);
      const same = await post('/v1/comparisons', { prompt: 'Once', max_tokens: 4, model: baseline });
      assert.deepEqual((await findPolicies(same.id)).policies, [baseline, baseline]);
      const messages = [{ role: 'user', content: 'Hi' }];
      const offered = await post('/v1/chat/completions', { messages, max_tokens: 4, compare: true });
      const { row, policies } = await findPolicies(offered.comparison);
      assert.deepEqual([...policies, row.canary_id], [offered.model, offered.model, null]);
    }));

  test('queues compare the two, with the pairings canary and same; without a canary, two responses of one', async () => {
    let queues = 0;
    const compare = async (pairing: object) => {
      const fields = {
        name: `canary ${api.runtime} ${++queues}`,
        max_tokens: 8,
        gold_share: 0,
        repeat_share: 0,
        reveal: true,
      };
      const queue = await post('/v1/queues', { ...fields, pairing });
      await request(`/v1/queues/${queue.id}/items`, {
        method: 'POST',
        // Several, because an item whose responses are nearly the same is dropped.
        body: Array.from({ length: 8 }, (_, at) => JSON.stringify({ prompt: `Once upon a time ${at}` })).join('\n'),
        headers: { ...headers, 'content-type': 'application/jsonl' },
      });
      const reserved = await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' });
      assert.doesNotMatch(JSON.stringify(reserved), /pol_/);
      const { policies } = await post(`/v1/reservations/${reserved.id}/vote`, { choice: 'tie' });
      await post(`/v1/queues/${queue.id}`, { status: 'closed' });
      return new Set([policies.a, policies.b]);
    };
    await withCanary(async () => {
      for (const pairing of [{ type: 'canary' }, { type: 'same' }])
        assert.deepEqual(await compare(pairing), new Set([baseline, candidate]));
      assert.deepEqual(await compare({ type: 'same', policy: candidate }), new Set([candidate]));
    });
    assert.deepEqual(await compare({ type: 'canary' }), new Set([baseline]));
  });

  test('what the policies served is added up where it was computed', () =>
    withCanary(async (canary) => {
      const user = Array.from({ length: 50 }, (_, at) => `user-${at}`).find(
        (name) => expected(canary, name) === candidate,
      );
      const json = { prompt: 'Once upon a time', max_tokens: 6, user };
      for (let at = 0; at < 3; at++) await post('/v1/completions', json);
      const refused = await request('/v1/completions', { json: { ...json, max_tokens: 1e6 }, headers });
      assert.equal(refused.status, 400);
      const rows = await waitUntil(async () => {
        const rows = await db.select().from(policy_minutes).where(eq(policy_minutes.policy_id, candidate));
        return rows.reduce((sum, row) => sum + row.requests, 0) >= 3 ? rows : null;
      });
      const sum = (name: 'requests' | 'errors' | 'responses' | 'completion_tokens') =>
        rows.reduce((total, row) => total + row[name], 0);
      const [stored] = await db
        .select({ tokens: sql<number>`sum(cardinality(${generations.token_ids}))::int` })
        .from(generations)
        .innerJoin(completions, eq(completions.id, generations.completion_id))
        .where(eq(completions.policy_id, candidate));
      assert.deepEqual([sum('requests'), sum('errors'), sum('responses')], [3, 0, 3]);
      assert.ok(sum('completion_tokens') >= stored!.tokens);
    }));

  for (const isBetter of [true, false])
    test(`votes for the ${isBetter ? 'candidate promote it' : 'active policy roll the candidate back'}`, () =>
      withCanary(async (canary) => {
        for (let at = 0; at < 7; at++) {
          const { id } = await post('/v1/comparisons', { prompt: `Once ${at}`, max_tokens: 4 });
          const { policies } = await findPolicies(id);
          const choice = (policies[0] === candidate) === isBetter ? 'a' : 'b';
          await post('/v1/preferences', { comparison: id, choice, rater: `rater ${at}` });
        }
        const state = isBetter ? 'watching' : 'rolled_back';
        await waitUntil(async () => {
          const [row] = await db.select().from(canaries).where(eq(canaries.id, canary));
          return row!.state === state;
        });
        await waitFor((health) => health.candidate === null && health.policy === (isBetter ? candidate : baseline));
        const user = { prompt: 'Once', max_tokens: 1, user: 'user-1' };
        assert.equal((await post('/v1/completions', user)).model, isBetter ? candidate : baseline);
      }));
}
