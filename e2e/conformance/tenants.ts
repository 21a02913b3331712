// Tenants: a key reads and votes on what its own tenant has stored; ids of others are a 404. Policies and rounds are those of
// all. Every route with an id in its path is in one of the two tables.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { eq } from 'drizzle-orm';
import { rounds } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';
import { assertError } from './errors.ts';

type Kind = 'chat' | 'comparison' | 'preference' | 'feedback' | 'rater' | 'queue';

/** What each is an id of. */
const OWN: Record<string, Kind> = {
  'GET /v1/chat/completions/{id}': 'chat',
  'GET /v1/comparisons/{id}': 'comparison',
  'GET /v1/preferences/{id}': 'preference',
  'GET /v1/feedback/{id}': 'feedback',
  'GET /v1/queues/{id}/quality': 'queue',
  'GET /v1/raters/{id}': 'rater',
  'POST /v1/raters/{id}': 'rater',
  'POST /v1/raters/{id}/invitations': 'rater',
  'GET /v1/queues/{id}': 'queue',
  'POST /v1/queues/{id}': 'queue',
  'POST /v1/queues/{id}/items': 'queue',
  'GET /v1/queues/{id}/items': 'queue',
  'POST /v1/queues/{id}/draw': 'queue',
  'POST /v1/queues/{id}/requeue': 'queue',
  'GET /v1/queues/{id}/export': 'queue',
  'POST /v1/queues/{id}/next': 'queue',
  'GET /v1/queues/{id}/progress': 'queue',
  'POST /v1/queues/{id}/raters/{rater}/pause': 'queue',
  'POST /v1/queues/{id}/raters/{rater}/resume': 'queue',
};

const BODIES: Record<string, object> = {
  'POST /v1/raters/{id}': { active: true },
  'POST /v1/raters/{id}/invitations': {},
  'POST /v1/queues/{id}': { status: 'open' },
  'POST /v1/queues/{id}/items': { prompt: 'Once' },
  'POST /v1/queues/{id}/draw': { count: 1 },
  'POST /v1/queues/{id}/requeue': { skipped: true },
  'POST /v1/queues/{id}/next': {},
  'POST /v1/queues/{id}/raters/{rater}/pause': {},
  'POST /v1/queues/{id}/raters/{rater}/resume': {},
};

const SHARED = [
  'GET /v1/models/{model}',
  'GET /v1/rounds/{id}',
  'POST /v1/rounds/{id}/cancel',
  'GET /v1/rounds/{id}/metrics',
  'GET /v1/rounds/{id}/events',
  'GET /v1/policies/{id}',
  'GET /v1/policies/{id}/lineage',
  'POST /v1/policies/{id}/promote',
  'POST /v1/policies/{id}/canary',
  'GET /v1/canaries/{id}',
  'GET /v1/canaries/{id}/evidence',
  'POST /v1/canaries/{id}/cancel',
  'GET /v1/webhook-events/{id}',
  'POST /v1/webhook-events/{id}/resend',
  'GET /v1/rewards/{id}',
  // Of administrators, who may read all tenants.
  'GET /v1/keys/{id}',
  'POST /v1/keys/{id}/rotate',
  'DELETE /v1/keys/{id}',
  'DELETE /v1/chat/completions/{id}',
  'DELETE /v1/comparisons/{id}',
  'GET /v1/erasures/{id}',
  // Of whoever gave it, or of administrators (erasures.ts).
  'POST /v1/preferences/{id}',
  'DELETE /v1/preferences/{id}',
  'DELETE /v1/feedback/{id}',
  // Of whoever reserved it (queues.ts).
  'GET /v1/reservations/{id}',
  'POST /v1/reservations/{id}/heartbeat',
  'POST /v1/reservations/{id}/vote',
  'DELETE /v1/reservations/{id}/vote',
];

const LISTS: Partial<Record<Kind, string>> = {
  chat: '/v1/chat/completions',
  comparison: '/v1/comparisons',
  preference: '/v1/preferences',
  feedback: '/v1/feedback',
  rater: '/v1/raters',
  queue: '/v1/queues',
};

export function testTenants(api: Api): void {
  const { request } = api;
  const names = { here: `here.${api.runtime}`, there: `there.${api.runtime}` };
  const headers: Record<keyof typeof names, { authorization: string }> = {} as never;
  /** Of the tenant here. */
  const ids: Record<Kind, string> = {} as never;
  const generations: string[] = [];

  /** `path` ends where the name of a tenant follows. */
  async function assertRefused(path: string): Promise<void> {
    for (const name of ['%00', 'a%20b', 'x'.repeat(65)]) {
      const response = await request(path + name);
      assertError(response, 400, name);
      assert.equal(response.body.error.param, 'tenant');
      assert.match(response.body.error.message, /1 to 64 letters/);
    }
  }

  before(async () => {
    const scopes = ['generate', 'rate', 'feedback', 'read', 'train', 'operate'];
    for (const name of ['here', 'there'] as const) {
      const { body } = await request('/v1/keys', { json: { name, scopes, tenant: names[name] } });
      headers[name] = { authorization: `Bearer ${body.key}` };
    }
    const post = async (path: string, json: object): Promise<Json> => {
      const { status, body } = await request(path, { json, headers: headers.here });
      assert.equal(status, 200, JSON.stringify(body));
      return body;
    };
    const messages = [{ role: 'user', content: 'Once' }];
    const chat = await post('/v1/chat/completions', { messages, max_tokens: 2, n: 2 });
    ids.chat = chat.id;
    generations.push(...chat.choices.map((choice: Json) => choice.generation_id));
    ids.comparison = (await post('/v1/comparisons', { messages, max_tokens: 2 })).id;
    ids.preference = (await post('/v1/preferences', { prompt: 'Once', chosen: 'upon', rejected: 'more' })).id;
    ids.feedback = (await post('/v1/feedback', { generation: ids.chat, thumb: 1 })).id;
    ids.rater = (await post('/v1/raters', { name: 'Ann' })).id;
    ids.queue = (await post('/v1/queues', { name: 'here', max_tokens: 8 })).id;
  });

  test('every route with an id is in one of the two tables', async () => {
    const { body } = await request('/openapi.json');
    const routes = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
      /\/v1\/.*\{/.test(path) ? Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`) : [],
    );
    assert.deepEqual(routes.toSorted(), [...Object.keys(OWN), ...SHARED].toSorted());
  });

  for (const [route, kind] of Object.entries(OWN))
    test(`${route} is a 404 for another tenant, and no secret for an administrator`, async () => {
      const [method, path] = route.split(' ') as [string, string];
      const json = BODIES[route];
      const call = (init: object, id = ids[kind]) =>
        request(path.replace('{id}', id), { method, ...(json ? { json } : {}), ...init });
      assert.equal((await call({ headers: headers.here })).status, 200);
      assert.equal((await call({})).status, 200);
      const refused = await call({ headers: headers.there });
      assertError(refused, 404);
      // Exactly what an id that never was gets.
      const unknown = await call({ headers: headers.there }, 'none');
      assert.equal(
        refused.body.error.message.replace(ids[kind], 'id'),
        unknown.body.error.message.replace('none', 'id'),
      );
    });

  for (const [kind, path] of Object.entries(LISTS))
    test(`the list ${path} is of one's own tenant, and of any for an administrator`, async () => {
      const id = ids[kind as keyof typeof ids];
      const list = async (query: string, init: object): Promise<string[]> => {
        const { status, body } = await request(`${path}?limit=100${query}`, init);
        assert.equal(status, 200, JSON.stringify(body));
        return body.data.map((row: Json) => row.id);
      };
      assert.ok((await list('', { headers: headers.here })).includes(id));
      assert.deepEqual(await list('', { headers: headers.there }), []);
      assert.deepEqual(await list('&order=asc', { headers: headers.there }), []);
      assert.ok(!(await list('', {})).includes(id));
      assert.ok((await list(`&tenant=${names.here}`, {})).includes(id));
      const other = await request(`${path}?tenant=${names.here}`, { headers: headers.there });
      assertError(other, 403);
      await assertRefused(`${path}?tenant=`);
      assertError(await request(`${path}?after=${id}`, { headers: headers.there }), 404);
    });

  for (const path of [
    '/v1/preferences/export',
    '/v1/preferences/stats',
    '/v1/comparisons/export',
    '/v1/comparisons/datasheet',
    '/v1/leaderboard',
  ])
    test(`${path} takes the name of a tenant, and no other text`, () => assertRefused(`${path}?tenant=`));

  test('nobody votes on what another tenant has', async () => {
    for (const json of [
      { comparison: ids.comparison, choice: 'a' },
      { chosen: generations[0], rejected: generations[1] },
    ]) {
      assertError(await request('/v1/preferences', { json, headers: headers.there }), 404);
      const voted = await request('/v1/preferences', { json, headers: headers.here });
      assert.equal(voted.status, 200, voted.text);
    }
  });

  test('nobody gives feedback on what another tenant has, nor takes back that of another', async () => {
    const json = { generation: ids.chat, thumb: -1 };
    assertError(await request('/v1/feedback', { json, headers: headers.there }), 404);
    const path = `/v1/feedback/${ids.feedback}`;
    assertError(await request(path, { method: 'DELETE', headers: headers.there }), 404);
    assert.equal((await request(path)).body.thumb, 1);
  });

  test('a vote of an administrator on what a tenant has belongs to that tenant', async () => {
    const json = { comparison: ids.comparison, choice: 'a', rater: 'administrator' };
    const { status, body } = await request('/v1/preferences', { json });
    assert.equal(status, 200, JSON.stringify(body));
    const get = (init: object) => request(`/v1/preferences/${body.id}`, init);
    assert.deepEqual(
      [(await get({ headers: headers.here })).status, (await get({ headers: headers.there })).status],
      [200, 404],
    );
    const { data } = (await request('/v1/preferences?limit=100')).body;
    assert.ok(!data.some((row: Json) => row.id === body.id));
  });

  test('exports and counts are of one’s own tenant', async () => {
    const { body, text } = await request('/v1/preferences/export', { headers: headers.there });
    assert.equal(text, '', JSON.stringify(body));
    const counts = (await request('/v1/preferences/stats', { headers: headers.there })).body;
    assert.deepEqual(counts, { total: 0, pairs_not_yet_seen: 0, raters: 0, by_choice: {}, by_source: {} });
    const exported = await request(`/v1/preferences/export?tenant=${names.here}`);
    assert.match(exported.text, /"upon"/);
    assertError(await request(`/v1/preferences/export?tenant=${names.here}`, { headers: headers.there }), 403);
    assertError(await request(`/v1/preferences/stats?tenant=${names.here}`, { headers: headers.there }), 403);
    assertError(await request(`/v1/leaderboard?tenant=${names.here}`, { headers: headers.there }), 403);
  });

  test('two tenants can import the same rows, and use the same names for raters', async () => {
    const body = JSON.stringify({ prompt: `Imported ${api.runtime}`, chosen: 'a', rejected: 'b', rater: 'ann' });
    for (const name of ['here', 'there'] as const) {
      const sent = { method: 'POST', body, headers: { 'content-type': 'application/jsonl', ...headers[name] } };
      const { imported, duplicates } = (await request('/v1/preferences/import', sent)).body;
      assert.deepEqual([imported, duplicates], [1, 0], name);
      const vote = { prompt: `Named ${api.runtime}`, chosen: 'a', rejected: 'b', rater: 'ann' };
      assert.equal((await request('/v1/preferences', { json: vote, headers: headers[name] })).status, 200);
    }
  });

  test('what a dry run says of raters, whose names it has from all tenants, is for administrators', async () => {
    const id = `round_preview_${api.runtime}`;
    const preview = [
      { name: 'pairs', text: '40 new' },
      { name: 'origins', text: '2 raters, user:ann has the most pairs (30 of 40)' },
    ];
    const ended = { status: 'succeeded', stage: 'previewed', dry_run: true, preview } as const;
    const { db } = api.server.connection;
    await db.insert(rounds).values({ id, trigger: 'api', settings: {}, ...ended });
    assert.deepEqual((await request(`/v1/rounds/${id}`)).body.preview, preview);
    assert.deepEqual((await request(`/v1/rounds/${id}`, { headers: headers.here })).body.preview, preview.slice(0, 1));
    await db.delete(rounds).where(eq(rounds.id, id));
  });
}
