// Filters of the list of preferences, alone and together, in pages and in both orders; and what they must not show.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import { storePolicyVotes, storePreference } from '../../testing/stored-rows.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import type { Api } from './api.ts';
import { assertError } from './errors.ts';

export function testPreferenceFilters(api: Api): void {
  const { request, server } = api;
  const { db } = server.connection;
  const tenant = `filters.${api.runtime}`;
  const [older, newer] = [`pol_older_${api.runtime}`, `pol_newer_${api.runtime}`];
  const canary = `canary_${api.runtime}`;
  let headers: { authorization: string };
  /** In the order in which they were stored. */
  const ids: string[] = [];

  const list = async (query: string): Promise<string[]> => {
    const { status, body, text } = await request(`/v1/preferences?${query}`, { headers });
    assert.equal(status, 200, text);
    return body.data.map(({ id }: Json) => id);
  };
  const assertFound = async (query: string, expected: (string | undefined)[]) => {
    const newestFirst = expected.toReversed();
    assert.deepEqual(await list(`${query}&limit=100`), newestFirst, query);
    // Oldest first, a row is listed once no older transaction is open.
    await waitUntil(async () => (await list(`${query}&limit=100&order=asc`)).join() === expected.join());
    for (const order of ['desc', 'asc']) {
      const paged: string[] = [];
      for (let after = ''; ; after = `&after=${paged.at(-1)}`) {
        const page = await list(`${query}&limit=2&order=${order}${after}`);
        paged.push(...page);
        if (page.length < 2) break;
      }
      assert.deepEqual(paged, order === 'desc' ? newestFirst : expected, `${query} in pages, ${order}`);
    }
  };

  before(async () => {
    const scopes = ['read', 'operate', 'feedback'];
    const { body } = await request('/v1/keys', { json: { name: 'filters', scopes, tenant } });
    headers = { authorization: `Bearer ${body.key}` };
    const fields = { tenant, created_by: 'test' };
    for (let at = 0; at < 5; at++)
      ids.push(
        await storePreference(db, `Ein grüner Drache, ${at}`, {
          ...fields,
          rater: at < 3 ? 'user:ann' : 'bob',
          source: at === 4 ? 'import' : 'raw',
        }),
      );
    ids.push(await storePreference(db, 'Two dragons and a fox', { ...fields, rater: 'bob', choice: 'tie' }));
    const vote = { choice: 'a' as const, prompt: 'voted on' };
    await storePolicyVotes(db, tenant, [{ ...vote, a: older, b: newer, rater: 'user:ann', canary }]);
    await storePolicyVotes(db, tenant, [{ ...vote, a: newer, b: newer, rater: 'bob' }]);
    const stored = await list('limit=100');
    ids.push(...stored.slice(0, 2).toReversed());
    assert.equal(stored.length, 8);
  });

  test('preferences are filtered by choice, source, rater, comparison, policy and canary, and by several of them', async () => {
    const at = (...indices: number[]) => indices.map((index) => ids[index]);
    await assertFound('choice=tie', at(5));
    await assertFound('choice=both_bad', []);
    await assertFound('source=import', at(4));
    await assertFound('source=comparison', at(6, 7));
    await assertFound('rater=user:ann', at(0, 1, 2, 6));
    await assertFound(`policy=${older}`, at(6));
    await assertFound(`policy=${newer}`, at(6, 7));
    await assertFound('policy=pol_none', []);
    await assertFound(`canary=${canary}`, at(6));
    const { comparison } = (await request(`/v1/preferences/${ids[6]}`, { headers })).body;
    await assertFound(`comparison=${comparison}`, at(6));
    await assertFound(`comparison=${comparison}&rater=bob`, []);
    await assertFound('comparison=cmp_none', []);
    await assertFound(`policy=${newer}&rater=bob`, at(7));
    await assertFound(`policy=${newer}&source=raw`, []);
    await assertFound('rater=bob&choice=a&source=raw', at(3));
  });

  test('preferences are found by words of prompt and responses, in any language and any case', async () => {
    const at = (...indices: number[]) => indices.map((index) => ids[index]);
    await assertFound('search=drache', at(0, 1, 2, 3, 4));
    await assertFound(`search=${encodeURIComponent('GRÜNER "ein grüner"')}`, at(0, 1, 2, 3, 4));
    await assertFound(`search=${encodeURIComponent('"drache grüner"')}`, []);
    await assertFound('search=fox', at(5));
    await assertFound(`search=${encodeURIComponent('fox or 3')}`, at(3, 5));
    await assertFound(`search=${encodeURIComponent('drache -3')}`, at(0, 1, 2, 4));
    await assertFound('search=drache&rater=bob', at(3, 4));
    await assertFound('search=dragon', []);
    await assertFound(`search=${encodeURIComponent(`!!! ' & | :*`)}`, []);
  });

  test('preferences are found by the queue whose item was voted on', async () => {
    const post = async (path: string, json: object): Promise<Json> => {
      const { status, body } = await request(path, { json, headers });
      assert.equal(status, 200, JSON.stringify(body));
      return body;
    };
    const queue = (await post('/v1/queues', { name: `filtered ${api.runtime}`, reviews: 1, max_tokens: 8 })).id;
    await post(`/v1/queues/${queue}/items`, { prompt: 'Once', a: 'left', b: 'right' });
    const reservation = await post(`/v1/queues/${queue}/next`, { rater: 'carl' });
    await post(`/v1/reservations/${reservation.id}/vote`, { choice: 'a' });
    const [found, ...others] = await list(`queue=${queue}`);
    assert.ok(found && others.length === 0);
    assert.equal((await request(`/v1/preferences/${found}`, { headers })).body.queue, queue);
    assert.deepEqual(await list('queue=que_none'), []);
  });

  test('another tenant, and an erasure, leave nothing to be found', async () => {
    const { body } = await request('/v1/keys', {
      json: { name: 'other', scopes: ['read'], tenant: `other.${tenant}` },
    });
    const other = { authorization: `Bearer ${body.key}` };
    const { comparison } = (await request(`/v1/preferences/${ids[6]}`, { headers })).body;
    for (const query of [
      'search=drache',
      'rater=user:ann',
      `policy=${newer}`,
      `canary=${canary}`,
      `comparison=${comparison}`,
    ]) {
      const found = await request(`/v1/preferences?${query}`, { headers: other });
      assert.deepEqual(found.body.data, [], query);
      assertError(await request(`/v1/preferences?${query}&tenant=${tenant}`, { headers: other }), 403);
      const administrator = await request(`/v1/preferences?${query}&tenant=${tenant}`);
      assert.ok(administrator.body.data.length > 0, query);
    }
    assert.equal((await request('/v1/erasures', { json: { user: 'ann', tenant } })).status, 200);
    for (const query of ['search=drache', 'rater=user:ann', 'source=raw'])
      assert.ok(!(await list(`${query}&limit=100`)).includes(ids[0]!), query);
  });

  test('filters that are none are refused', async () => {
    for (const [query, param] of [
      ['choice=c', 'choice'],
      ['source=table', 'source'],
      ['search=', 'search'],
      [`search=${'x'.repeat(501)}`, 'search'],
      ['search=%00', 'search'],
      ['rater=', 'rater'],
      ['comparison=', 'comparison'],
      [`policy=${'x'.repeat(201)}`, 'policy'],
      ['queue=%00', 'queue'],
      ['canary=', 'canary'],
      ['color=red', 'color'],
    ] as const) {
      const refused = await request(`/v1/preferences?${query}`, { headers });
      assertError(refused, 400, query);
      assert.equal(refused.body.error.param, param, query);
    }
    for (const search of ['-drache', 'fox or -drache', '-"ein grüner"']) {
      const { status, body } = await request(`/v1/preferences?search=${encodeURIComponent(search)}`, { headers });
      assert.deepEqual([status, body.error.param, body.error.code], [400, 'search', 'search_too_broad'], search);
    }
  });
}
