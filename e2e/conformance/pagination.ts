// Pagination: every item once, in both orders. Newest first is sorted by id; oldest first by when a row was committed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import type { Api } from './api.ts';
import { assertError } from './errors.ts';

export const LISTS = ['chat/completions', 'comparisons', 'preferences', 'policies', 'rewards', 'rounds'];

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

  const listAll = async (list: string, order: 'asc' | 'desc', limit: number): Promise<string[]> => {
    const seen: string[] = [];
    for (let after = ''; ; ) {
      const body = await page(list, `limit=${limit}&order=${order}${after && `&after=${after}`}`);
      seen.push(...idsOf(body));
      assert.ok(body.data.length <= limit);
      if (!body.has_more) return seen;
      assert.equal(body.data.length, limit);
      after = body.last_id;
    }
  };
  /** Oldest first, a row is listed once no older transaction is open, and the Worker's background work has some. */
  const untilListed = (list: string, ids: string[], limit: number) =>
    waitUntil(async () => {
      const oldestFirst = await listAll(list, 'asc', limit);
      return oldestFirst.length >= ids.length && oldestFirst;
    });

  for (const list of LISTS) {
    test(`paging through ${list} returns every item once, in both orders`, async () => {
      const { data } = await page(list, 'limit=100');
      const limit = Math.max(2, Math.ceil(data.length / 4));
      const newestFirst = await listAll(list, 'desc', limit);
      assert.ok(newestFirst.length >= 3, `${newestFirst.length}`);
      assert.equal(new Set(newestFirst).size, newestFirst.length);
      assert.deepEqual(newestFirst, newestFirst.toSorted().reverse());
      // Default: the newest twenty, newest first.
      assert.deepEqual(idsOf(await page(list, '')), newestFirst.slice(0, 20));
      const oldestFirst = await untilListed(list, newestFirst, limit);
      assert.deepEqual(oldestFirst.toSorted().reverse(), newestFirst);
      const empty = await page(list, `after=${oldestFirst.at(-1)}&order=asc`);
      assert.deepEqual([empty.data, empty.has_more], [[], false]);
    });

    test(`a page of ${list} after an unknown id is a 404`, async () => {
      for (const order of ['asc', 'desc']) {
        const response = await api.request(`/v1/${list}?after=none&order=${order}`);
        assertError(response, 404);
        assert.equal(response.body.error.param, 'after');
        api.record(`${list} after an unknown id`, response.body);
      }
    });
  }

  test('OpenAI’s client pages automatically', async () => {
    const newestFirst = await listAll('chat/completions', 'desc', 100);
    const oldestFirst = await untilListed('chat/completions', newestFirst, 100);
    const ids: string[] = [];
    for await (const { id } of api.client.chat.completions.list({ limit: 50, order: 'asc' })) ids.push(id);
    assert.ok(ids.length > 3);
    assert.deepEqual(ids, oldestFirst);
  });
}
