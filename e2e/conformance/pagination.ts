// Pagination: every item once, in both orders.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';

export const LISTS = ['chat/completions', 'comparisons', 'preferences', 'policies', 'rounds'];

export function testPagination(api: Api): void {
  const page = async (list: string, query: string): Promise<Json> => {
    const { status, body } = await api.request(`/v1/${list}?${query}`);
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.object, 'list');
    assert.equal(body.first_id, body.data[0]?.id ?? null);
    assert.equal(body.last_id, body.data.at(-1)?.id ?? null);
    return body;
  };
  const idsOf = (body: Json): string[] => body.data.map((item: Json) => item.id);

  for (const list of LISTS) {
    test(`paging through ${list} returns every item once, in both orders`, async () => {
      const listings: string[][] = [];
      const { data } = await page(list, 'limit=100');
      const limit = Math.max(2, Math.ceil(data.length / 4));
      for (const order of ['asc', 'desc']) {
        const seen: string[] = [];
        for (let after = ''; ; ) {
          const body = await page(list, `limit=${limit}&order=${order}${after && `&after=${after}`}`);
          seen.push(...idsOf(body));
          assert.ok(body.data.length <= limit);
          if (!body.has_more) break;
          assert.equal(body.data.length, limit);
          after = body.last_id;
        }
        assert.equal(new Set(seen).size, seen.length);
        assert.deepEqual(seen, order === 'asc' ? seen.toSorted() : seen.toSorted().reverse());
        listings.push(seen);
      }
      assert.ok(listings[0]!.length >= 3, `${listings[0]!.length}`);
      assert.deepEqual(listings[1]!.toReversed(), listings[0]);
      // Default: the newest twenty, newest first.
      assert.deepEqual(idsOf(await page(list, '')), listings[1]!.slice(0, 20));
      const empty = await page(list, `after=${listings[0]!.at(-1)}&order=asc`);
      assert.deepEqual([empty.data, empty.has_more], [[], false]);
    });
  }

  test('OpenAI’s client pages automatically', async () => {
    const ids: string[] = [];
    for await (const { id } of api.client.chat.completions.list({ limit: 50, order: 'asc' })) ids.push(id);
    assert.ok(ids.length > 3);
    assert.deepEqual(ids, [...new Set(ids)].sort());
    assert.equal(ids.at(-1), (await page('chat/completions', 'limit=1')).first_id);
  });
}
