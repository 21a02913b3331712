// What votes say: ratings of policies, and how far the raters of a queue agree.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { queue_items, queues, reservations } from '../../shared/database/schema.ts';
import { queueSettingsSchema } from '../../shared/queue-settings.ts';
import type { Json } from '../../testing/edge-server.ts';
import { type PolicyVote, storePolicyVotes } from '../../testing/stored-rows.ts';
import type { Api } from './api.ts';
import { assertError } from './errors.ts';

export function testQuality(api: Api): void {
  const { request } = api;
  const { db } = api.server.connection;
  const tenant = `votes.${api.runtime}`;
  const queue = `que_votes_${api.runtime}`;
  const leaderboard = (query = '') => request(`/v1/leaderboard?tenant=${tenant}${query}`);

  before(async () => {
    const settings = queueSettingsSchema.parse({});
    await db.insert(queues).values({ id: queue, name: 'votes', settings, guidelines_version: 1, tenant });
    const votes = Array.from({ length: 60 }, (_, at): PolicyVote => {
      const [a, b] = at % 2 === 0 ? ['pol_first', 'pol_second'] : ['pol_second', 'pol_first'];
      const isFirst = at % 5 === 0;
      const choice = at % 10 === 9 ? 'tie' : isFirst === (a === 'pol_first') ? 'a' : 'b';
      const textA = at % 4 < 2 ? `# Title\n\n- ${'word '.repeat(at)}` : 'short';
      return { a: a!, b: b!, choice, rater: `rater ${at % 7}`, prompt: `prompt ${at % 12}`, textA, queue };
    });
    await storePolicyVotes(db, tenant, votes);
    for (let at = 0; at < 8; at++) {
      const id = `item_${api.runtime}_${at}`;
      const own = { id, queue_id: queue, prompt: id, content_hash: id, kind: 'gold', expected: 'a', tenant } as const;
      await db.insert(queue_items).values(own);
      for (const rater of ['ann', 'bea'])
        await db.insert(reservations).values({
          id: `res_${api.runtime}_${at}_${rater}`,
          queue_id: queue,
          item_id: id,
          rater,
          purpose: 'gold',
          state: 'voted',
          swapped: at % 2 === 0,
          probability: 1,
          guidelines_version: 1,
          expires_at: new Date(),
          choice: rater === 'ann' || at % 2 === 0 ? 'a' : 'b',
          seconds: at,
          tenant,
        });
    }
  });

  test('policies are rated by their votes', async () => {
    const { status, body, text } = await leaderboard();
    assert.equal(status, 200, text);
    assert.equal(body.votes.counted, 60);
    assert.deepEqual(
      body.policies.map(({ policy, ratings }: Json) => [policy, ratings.half.rank]),
      [
        ['pol_second', 1],
        ['pol_first', 2],
      ],
    );
    assert.ok(body.policies[0].ratings.half.interval.low > 0);
    api.record('a leaderboard', body);
    const controlled = await leaderboard('&style=true&ties=dropped');
    assert.equal(controlled.status, 200, controlled.text);
    assert.deepEqual([controlled.body.ties, controlled.body.style.length], ['dropped', 4]);
    api.record('a leaderboard with style control', controlled.body);
    assert.equal((await leaderboard(`&queue=${queue}&exclude_paused=true`)).body.votes.counted, 60);
    assert.equal((await leaderboard('&until=2026-01-01')).body.votes.counted, 0);
  });

  test('a leaderboard refuses what it does not know', async () => {
    for (const [query, param] of [
      ['&style=maybe', 'style'],
      ['&ties=third', 'ties'],
      ['&since=yesterday', 'since'],
      ['&user=ann', 'user'],
    ] as const) {
      const response = await leaderboard(query);
      assertError(response, 400, query);
      assert.equal(response.body.error.param, param);
      api.record(`a leaderboard with ${param}`, response.body);
    }
    const unknown = await leaderboard('&queue=que_none');
    assertError(unknown, 404);
    assert.equal(unknown.body.error.param, 'queue');
  });

  test('the quality of a queue is that of its votes', async () => {
    const { status, body, text } = await request(`/v1/queues/${queue}/quality`);
    assert.equal(status, 200, text);
    assert.deepEqual([body.object, body.queue, body.votes.total], ['queue_quality', queue, 0]);
    assert.deepEqual(
      body.raters.map(({ rater, gold, side_bias }: Json) => [rater, gold.accuracy.value, side_bias.value]),
      [
        ['ann', 1, 0.5],
        ['bea', 0.5, 0],
      ],
    );
    assert.equal(body.gold.accuracy.count, 16);
    api.record('the quality of a queue', { ...body, queue: 'of this runtime' });
  });
}
