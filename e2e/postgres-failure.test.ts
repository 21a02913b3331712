// The API on Node while Postgres is stalled, read-only, full, locked or cut off: every response comes in time, and says
// truthfully whether something was stored.

import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { startEdge } from '../edge/node.ts';
import { preferences } from '../shared/database/schema.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { openTcpProxy } from '../testing/tcp-proxy.ts';
import { waitUntil } from '../testing/wait-until.ts';

const server = await startEdgeServer();
const { db } = server.connection;
const proxy = await openTcpProxy(server.databaseUrl);
const edge = await startEdge(server.settings, proxy.url);
after(() => edge.close());

type Answer = { status: number; retry: string | null; body: Json; seconds: number };

async function send(route: string, json?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const began = performance.now();
  const response = await fetch(edge.url + route, {
    ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    headers: { 'content-type': 'application/json', ...headers },
  });
  const text = await response.text();
  const body = text.startsWith('{') ? JSON.parse(text) : text;
  const seconds = (performance.now() - began) / 1000;
  return { status: response.status, retry: response.headers.get('x-should-retry'), body, seconds };
}

const preference = (rater: string) => ({ prompt: 'Once', chosen: ' upon', rejected: ' down', rater });
const countStored = (rater: string) => db.$count(preferences, eq(preferences.rater, `user:${rater}`));
/** On one of the test's three connections, while others ask on the others. */
const isWritable = async () => {
  const [row] = await db.execute(
    sql`select current_setting('default_transaction_read_only') = 'off' as writable, pg_sleep(0.05)`,
  );
  return row!.writable;
};
const isHealthy = async () => (await send('/health')).status === 200;

beforeEach(() => waitUntil(isHealthy, 30_000));

test('a stalled network: /health answers at once, and every other request within its time limit', async () => {
  proxy.stall();
  const health = await send('/health');
  assert.deepEqual([health.status, health.body.postgres], [503, 'unreachable']);
  assert.ok(health.seconds < 10);
  assert.equal((await send('/status')).status, 200);
  const [write, list, completion] = await Promise.all([
    send('/v1/preferences', preference('stalled')),
    send('/v1/preferences'),
    send('/v1/completions', { prompt: 'Once', max_tokens: 2 }),
  ]);
  for (const { status, body, seconds } of [write, list, completion]) {
    assert.ok(status === 503 || status === 504, JSON.stringify(body));
    assert.deepEqual(Object.keys(body.error), ['message', 'type', 'param', 'code']);
    assert.ok(seconds < 60, `${seconds} s`);
  }
  assert.match(write.body.error.message, /nothing was stored/);
  assert.doesNotMatch(list.body.error.message, /stored/);
  await proxy.forward();
  await waitUntil(isHealthy, 30_000);
  assert.equal(await countStored('stalled'), 0);
});

test('a lost acknowledgement is an unknown outcome, and a repetition with the same key stores nothing twice', async () => {
  const headers = { 'idempotency-key': 'acknowledgement' };
  proxy.loseAnswerTo('commit');
  const first = await send('/v1/preferences', preference('lost'), headers);
  if (first.status !== 200)
    assert.deepEqual([first.body.error.code, first.retry], ['postgres_outcome_unknown', 'true']);
  const again = await send('/v1/preferences', preference('lost'), headers);
  assert.equal(again.status, 200);
  assert.equal(await countStored('lost'), 1);

  proxy.loseAnswerTo('commit');
  const keyless = await send('/v1/preferences', preference('keyless'));
  assert.deepEqual(
    [keyless.status, keyless.body.error.code, keyless.retry],
    [503, 'postgres_outcome_unknown', 'false'],
  );
  assert.equal(await countStored('keyless'), 1);

  proxy.loseAnswerTo('commit');
  const completion = await send('/v1/completions', { prompt: 'Once', max_tokens: 2 });
  assert.equal(completion.body.error.code, 'postgres_outcome_unknown');
});

test('a read-only server: writes get a 503 that says so, reads work, and /health fails', async () => {
  const setReadOnly = async (value: string) => {
    await db.execute(sql.raw(`alter system set default_transaction_read_only = ${value}`));
    await db.execute(sql`select pg_reload_conf()`);
  };
  await setReadOnly('on');
  try {
    const health = await waitUntil(async () => {
      const answer = await send('/health');
      return answer.status !== 200 && answer;
    });
    assert.equal(health.body.postgres, 'read_only');
    const { status, retry, body } = await send('/v1/preferences', preference('read-only'));
    assert.deepEqual([status, body.error.code, retry], [503, 'postgres_read_only', 'true']);
    assert.match(body.error.message, /nothing was stored/);
    assert.equal((await send('/v1/preferences')).status, 200);
  } finally {
    await db.transaction(async (transaction) => {
      await transaction.execute(sql`set transaction read write`);
    });
    await setReadOnly('off');
    // Each connection hears of it by itself.
    await waitUntil(async () => (await Promise.all([isWritable(), isWritable(), isWritable()])).every(Boolean));
  }
});

for (const [state, code, retry] of [
  ['40001', 'postgres_conflict', 'true'],
  ['40P01', 'postgres_conflict', 'true'],
  ['57014', 'postgres_statement_timeout', 'true'],
  ['53100', 'postgres_disk_full', 'false'],
  ['53200', 'postgres_unavailable', 'true'],
  ['53300', 'postgres_too_many_connections', 'true'],
] as const)
  test(`SQLSTATE ${state} is ${code}, and nothing was stored`, async () => {
    await db.execute(
      sql.raw(`create function fail() returns trigger language plpgsql as $$
        begin raise exception 'failed for a test' using errcode = '${state}'; end $$`),
    );
    await db.execute(sql`create trigger failing before insert on preferences execute function fail()`);
    const expected = state === '53100' ? 'disk_full' : 'ok';
    // Any write that succeeds meanwhile, as the server makes by itself, says that there is space.
    const answer = await waitUntil(async () => {
      const answer = await send('/v1/preferences', preference(state));
      return (await send('/health')).body.postgres === expected ? answer : null;
    });
    await db.execute(sql`drop function fail cascade`);
    assert.deepEqual([answer.status, answer.body.error.code, answer.retry], [503, code, retry]);
    assert.match(answer.body.error.message, /nothing was stored/);
    assert.equal((await send('/v1/preferences', preference(`${state} again`))).status, 200);
    assert.equal(await isHealthy(), true);
    assert.equal(await countStored(state), 0);
  });

test('a row that is locked for too long is a retryable 503', async () => {
  await db.transaction(async (transaction) => {
    await transaction.execute(sql`lock table ${preferences} in access exclusive mode`);
    const { status, body, retry } = await send('/v1/preferences', preference('locked'));
    assert.deepEqual([status, body.error.code, retry], [503, 'postgres_lock_timeout', 'true']);
    assert.match(body.error.message, /nothing was stored/);
  });
  assert.equal(await countStored('locked'), 0);
});

test('an interrupted import does not claim that nothing was stored', async () => {
  const rows = Array.from({ length: 1200 }, (_, at) =>
    JSON.stringify({ ...preference('import'), prompt: `Row ${at}` }),
  );
  let isCut = false;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      controller.enqueue(new TextEncoder().encode(`${rows.slice(0, 600).join('\n')}\n`));
      await waitUntil(async () => (await db.$count(preferences, eq(preferences.source, 'import'))) === 500);
      if (!isCut) await proxy.refuse();
      isCut = true;
      controller.enqueue(new TextEncoder().encode(rows.slice(600).join('\n')));
      controller.close();
    },
  });
  const response = await fetch(`${edge.url}/v1/preferences/import`, {
    method: 'POST',
    headers: { 'content-type': 'application/jsonl' },
    body,
    duplex: 'half',
  } as RequestInit);
  await proxy.forward();
  const { error } = (await response.json()) as Json;
  assert.deepEqual([response.status, error.code], [503, 'import_interrupted']);
  assert.match(error.message, /send the file again/);
});
