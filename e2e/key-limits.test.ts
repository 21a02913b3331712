// What one key may do at once and in a day, and what an address may that sends wrong keys, on Node. Rows a day hold in a
// Worker too (e2e/conformance/keys.ts).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'drizzle-orm';
import { audit_events, completions, preferences } from '../shared/database/schema.ts';
import { type Json, makeLongRequests, startEdgeServer, withEdge } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';

const ADMIN = { authorization: 'Bearer a-secret-key' };
const server = await startEdgeServer({ API_KEY: 'a-secret-key', WRONG_KEYS_PER_MINUTE: '20' });
const { brief, endless } = await makeLongRequests(server);
const { db } = server.connection;

async function createKey(fields: Json) {
  const json = { name: 'limited', scopes: ['generate', 'rate', 'feedback', 'read'], ...fields };
  const { body } = await server.request('/v1/keys', { json, headers: ADMIN });
  const headers = { authorization: `Bearer ${body.key}` };
  const send = (path: string, json: Json, init: RequestInit = {}) =>
    server.request(path, { json, ...init, headers: { ...headers, ...init.headers } });
  return { ...body, headers, send };
}

/** Begins generations that end only when they are aborted. While other requests of the key have its places, it asks again. */
function openEndless(headers: Record<string, string>, fields: Json = {}, path = '/v1/completions') {
  const abort = new AbortController();
  const send = async (): Promise<string | null> => {
    const response = await fetch(server.edge.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ ...endless, ...fields }),
      signal: abort.signal,
    });
    const text = await response.text();
    return response.status === 429 ? send() : text;
  };
  return { abort: () => abort.abort(), ended: send().catch(() => null) };
}

function assertConcurrent({ status, headers, body }: { status: number; headers: Headers; body: Json }): void {
  assert.deepEqual([status, body.error.code], [429, 'concurrent_generations'], JSON.stringify(body));
  assert.equal(headers.get('x-should-retry'), 'true');
}

/** Both places of a key are free again, and no more than two. */
async function assertTwoPlaces(key: Awaited<ReturnType<typeof createKey>>): Promise<void> {
  await waitUntil(async () => (await key.send('/v1/completions', { ...brief, n: 2 })).status === 200, 20_000);
  const { status, headers, body } = await key.send('/v1/completions', { ...brief, n: 3 });
  assert.deepEqual([status, body.error.code, headers.get('x-should-retry')], [429, 'concurrent_generations', 'false']);
  assert.match(body.error.message, /^this request is 3 generations, and key_\w+ may run 2 at once; ask for fewer/);
}

test('a key runs as many generations at once as it may, and gets its place back when its client leaves', async () => {
  const key = await createKey({ concurrent_generations: 2 });
  assert.equal(key.concurrent_generations, 2);
  for (const fields of [{ n: 2 }, { stream: true, n: 2 }]) {
    const running = openEndless(key.headers, fields);
    const refused = await waitUntil(async () => {
      const answer = await key.send('/v1/completions', brief);
      return answer.status === 429 && answer;
    }, 10_000);
    assertConcurrent(refused);
    assert.match(refused.body.error.message, /runs 2 of the 2 generations/);
    // Another key, and the administrator, are not held up.
    assert.equal((await server.request('/v1/completions', { json: brief, headers: ADMIN })).status, 200);
    running.abort();
    await running.ended;
    await assertTwoPlaces(key);
  }
});

test('a comparison is two generations, and candidates of best_of count', async () => {
  const key = await createKey({ concurrent_generations: 2 });
  const { model, prompt, max_tokens, logit_bias } = endless;
  const running = openEndless(key.headers, { model, prompt, max_tokens, logit_bias }, '/v1/comparisons');
  assertConcurrent(
    await waitUntil(async () => {
      const answer = await key.send('/v1/completions', brief);
      return answer.status === 429 && answer;
    }, 10_000),
  );
  running.abort();
  await running.ended;
  await assertTwoPlaces(key);
  assert.equal((await key.send('/v1/completions', { ...brief, best_of: 3 })).status, 429);
  const prompts = await key.send('/v1/completions', { ...brief, prompt: ['a', 'b', 'c'] });
  assert.equal(prompts.body.error.code, 'concurrent_generations');
});

test('what fails or times out gives its place back', async () => {
  const key = await createKey({ concurrent_generations: 2 });
  for (let at = 0; at < 3; at++)
    assert.equal((await key.send('/v1/completions', { ...brief, max_tokens: 100_000 })).status, 400);
  await assertTwoPlaces(key);
  await withEdge(server, { API_KEY: 'a-secret-key', REQUEST_TIMEOUT: '0.5' }, async (send) => {
    for (let at = 0; at < 3; at++) {
      const { status } = await send('/v1/completions', endless, key.headers);
      assert.equal(status, 504);
    }
    assert.equal((await send('/v1/completions', { ...brief, n: 2 }, key.headers)).status, 200);
  });
});

const PAIR = { prompt: 'Q', chosen: 'a', rejected: 'b' };
const toRows = (name: string, count: number) =>
  Array.from({ length: count }, (_, at) => JSON.stringify({ ...PAIR, prompt: `${name} ${at}` })).join('\n');
const sendRows = (key: Awaited<ReturnType<typeof createKey>>, body: string) =>
  server.request('/v1/preferences/import', { method: 'POST', body, headers: key.headers });

test('an import stops at the limit of the day, and says how many rows it stored', async () => {
  const key = await createKey({ rows_per_day: 700 });
  const rows = toRows('limited', 1200);
  const before = await db.$count(preferences);
  const refused = await sendRows(key, rows);
  assert.deepEqual([refused.status, refused.body.error.code], [429, 'daily_rows_exceeded']);
  assert.match(
    refused.body.error.message,
    /^the import stopped after storing 700 rows: key_\w+ may store 700 rows a day/,
  );
  assert.equal((await db.$count(preferences)) - before, 700);
  await db.execute(sql`update key_usage set rows = 0 where key_id = ${key.id}`);
  const { body } = await sendRows(key, rows);
  assert.deepEqual([body.imported, body.duplicates], [500, 700]);
  const [usage] = await db.execute(sql`select rows from key_usage where key_id = ${key.id}`);
  assert.equal(usage!.rows, 500, 'a row that was there before does not count');
});

test('concurrent requests store no more than the limit of the day', async () => {
  const key = await createKey({ rows_per_day: 5 });
  const before = await db.$count(completions);
  const answers = await Promise.all(Array.from({ length: 12 }, () => key.send('/v1/completions', brief)));
  const statuses = answers.map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 200).length, 5);
  assert.equal(statuses.filter((status) => status === 429).length, 7);
  assert.equal((await db.$count(completions)) - before, 5);
});

test('a changed vote counts as another one', async () => {
  const key = await createKey({ scopes: ['rate'], rows_per_day: 2 });
  const { id: comparison } = (await server.request('/v1/comparisons', { json: brief, headers: ADMIN })).body;
  const { id } = (await key.send('/v1/preferences', { comparison, choice: 'a' })).body;
  const change = (choice: string) => key.send(`/v1/preferences/${id}`, { choice });
  assert.equal((await change('b')).status, 200);
  const refused = await change('tie');
  assert.deepEqual([refused.status, refused.body.error.code], [429, 'daily_rows_exceeded']);
  const { body } = await server.request(`/v1/preferences/${id}`, { headers: ADMIN });
  assert.equal(body.choice, 'b');
});

test('an interrupted generation counts, and yesterday does not', async () => {
  const key = await createKey({ rows_per_day: 1 });
  await db.execute(sql`insert into key_usage values (${key.id}, (now() at time zone 'utc')::date - 1, 1)`);
  const running = openEndless(key.headers);
  const before = await db.$count(completions);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  running.abort();
  await waitUntil(async () => (await db.$count(completions)) > before, 20_000);
  await waitUntil(async () => (await key.send('/v1/completions', brief)).status === 429, 5000);
});

test('an address that sends wrong keys has to wait, and the keys that it uses stay accepted', async () => {
  await withEdge(server, { API_KEY: 'a-secret-key' }, async (_send, url) => {
    const list = async (key: string) => {
      const response = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
      const { error } = (await response.json()) as Json;
      return { status: response.status, code: error?.code as string | undefined, headers: response.headers };
    };
    const [inUse, unseen] = await Promise.all([createKey({}), createKey({})]);
    assert.equal((await list(inUse.key)).status, 200);
    assert.equal((await list('a-secret-key')).status, 200);
    for (let at = 0; at < 20; at++) {
      const wrong =
        at % 2 === 0 ? `wrong-key-${at}` : `${inUse.key.slice(0, -1)}${inUse.key.endsWith('A') ? 'B' : 'A'}`;
      assert.equal((await list(wrong)).code, 'invalid_api_key');
    }
    const blocked = await list('wrong-key');
    assert.deepEqual([blocked.status, blocked.code], [429, 'too_many_wrong_keys']);
    assert.ok(Number(blocked.headers.get('retry-after')) > 0 && Number(blocked.headers.get('retry-after')) <= 60);
    assert.equal((await list(unseen.key)).status, 429);
    for (const key of [inUse.key, 'a-secret-key']) assert.equal((await list(key)).status, 200);
    // No key is no guess, and what is open stays open.
    assert.equal((await fetch(`${url}/v1/models`)).status, 401);
    assert.equal((await fetch(`${url}/health`)).status, 200);
    await server.request(`/v1/keys/${inUse.id}`, { method: 'DELETE', headers: ADMIN });
    await waitUntil(async () => (await list(inUse.key)).status === 401, 5000);
  });
  // Addresses are counted by each process.
  assert.equal((await server.request('/v1/models', { headers: ADMIN })).status, 200);
});

test('signing in and out are requests of the key or the rater, and over the limit leave no line in the audit log', async () => {
  await withEdge(server, { API_KEY: 'a-secret-key', REQUESTS_PER_MINUTE: '3' }, async (send, url) => {
    const key = await createKey({ requests_per_minute: 2 });
    const lines = await db.$count(audit_events);
    const signIn = () => send('/v1/session', { key: key.key });
    const [first, second, third] = [await signIn(), await signIn(), await signIn()];
    assert.deepEqual([first.status, second.status], [200, 200]);
    assert.deepEqual([third.status, third.body.error.code], [429, 'rate_limit_exceeded']);
    const form = new URLSearchParams({ key: key.key });
    const page = await fetch(`${url}/sign-in`, { method: 'POST', body: form, headers: { origin: url } });
    assert.equal(page.status, 429);
    assert.ok(Number(page.headers.get('retry-after')) > 0);
    const signOut = (cookie: string) =>
      fetch(`${url}/v1/session`, { method: 'DELETE', headers: { cookie, origin: url } });
    const ended = await signOut(toCookie(first.headers));
    assert.equal(ended.status, 429);
    assert.match(ended.headers.get('set-cookie') ?? '', /^attune_session=; Max-Age=0/, 'the browser is signed out');
    assert.equal((await db.$count(audit_events)) - lines, 2);

    const { token } = await invite();
    const session = await send('/v1/session', { invitation: token });
    assert.equal(session.status, 200);
    const statuses = [];
    for (let at = 0; at < 4; at++) statuses.push((await signOut(toCookie(session.headers))).status);
    assert.deepEqual(statuses, [200, 200, 429, 429]);
  });
});

test('a rater over the limit does not use an invitation up', async () => {
  await withEdge(server, { API_KEY: 'a-secret-key', REQUESTS_PER_MINUTE: '1' }, async (send) => {
    const { rater, token } = await invite();
    assert.equal((await send('/v1/session', { invitation: token })).status, 200);
    const next = await invite(rater);
    assert.equal((await send('/v1/session', { invitation: next.token })).status, 429);
    assert.equal((await server.request('/v1/session', { json: { invitation: next.token } })).status, 200);
  });
});

test('an address that sends wrong invitations has to wait, before Postgres is asked', async () => {
  await withEdge(server, { API_KEY: 'a-secret-key' }, async (send) => {
    const signIn = async (invitation: string) => (await send('/v1/session', { invitation })).body.error?.code;
    const { token } = await invite();
    const guess = `${token.slice(0, -43)}${'A'.repeat(43)}`;
    for (let at = 0; at < 20; at++) assert.equal(await signIn(at % 2 === 0 ? guess : 'inv-at-x'), 'invalid_invitation');
    const blocked = await send('/v1/session', { invitation: guess });
    assert.deepEqual([blocked.status, blocked.body.error.code], [429, 'too_many_wrong_keys']);
    assert.match(blocked.body.error.message, /wrong API keys or invitations from this address/);
    assert.ok(Number(blocked.headers.get('retry-after')) > 0);
    assert.equal(await signIn(token), 'too_many_wrong_keys');
    assert.equal((await send('/v1/session', { key: 'wrong-key' })).status, 429);
  });
});

async function invite(id?: string): Promise<{ rater: string; token: string }> {
  const rater = id ?? (await server.request('/v1/raters', { json: { name: 'Ann' }, headers: ADMIN })).body.id;
  const { body } = await server.request(`/v1/raters/${rater}/invitations`, { json: {}, headers: ADMIN });
  return { rater, token: body.token };
}

function toCookie(headers: Headers): string {
  return headers.get('set-cookie')!.split(';')[0]!;
}
