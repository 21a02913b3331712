import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { sql } from 'drizzle-orm';
import { connect } from '../../shared/database/connect.ts';
import { answer_batches } from '../../shared/database/schema.ts';
import { activatePolicy, registerPolicy } from '../../shared/store/registry.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { openMetrics } from '../metrics/metrics.ts';
import { MetricsAccumulator, openWorkerMetrics } from './metrics-counter.ts';
import { addRequestCounts, deleteOldBatches, type RequestCountBatch } from './metrics-store.ts';

const { db, url } = await openTestDatabase();
const node = openMetrics({ maxQueue: 1 });
after(node.close);

type ObservedResponse = Parameters<typeof node.observeResponse>[0];

/** A Worker's isolate whose messages are collected until a test delivers them. */
function openIsolate(send?: () => Promise<never>) {
  const messages: RequestCountBatch[] = [];
  const waited: Promise<unknown>[] = [];
  const accumulator = new MetricsAccumulator();
  // One instance per request, as in the Worker.
  const observe = (response: ObservedResponse) =>
    openWorkerMetrics({
      db,
      queue: {
        send: send ?? (async (message) => void messages.push(structuredClone(message) as RequestCountBatch) as never),
      },
      waitUntil: (promise) => void waited.push(promise),
      accumulator,
    }).observeResponse(response);
  return { messages, waited, observe, settle: () => Promise.all(waited) };
}

const metricsText = async () =>
  (await openWorkerMetrics({ db, queue: { send: assert.fail }, waitUntil() {} }).render()).body;
const HTTP = /^attune_http_request_duration_seconds/;

test('counts of several isolates add up to the text that Node renders for the same responses', async () => {
  const responses: ObservedResponse[] = [];
  for (let at = 0; at < 200; at++)
    responses.push({
      method: ['GET', 'POST'][at % 2]!,
      route: ['/v1/policies/:id', 'none', '/v1/chat/completions'][at % 3]!,
      status: [200, 404, 429][at % 7] ?? 200,
      // Eighths add up the same in any order; bounds themselves and more than the last one are among them.
      seconds: [0, 0.125, 0.25, 0.5, 1, 7.5, 10, 700][at % 8]!,
    });
  const isolates = [openIsolate(), openIsolate(), openIsolate()];
  for (const [at, response] of responses.entries()) {
    isolates[at % 3]!.observe(response);
    node.observeResponse(response);
  }
  for (const isolate of isolates) await isolate.settle();
  const batches = isolates.flatMap(({ messages }) => messages);
  assert.equal(batches.length, 3, 'an isolate sends one message per second');
  await addRequestCounts(db, batches);
  const lines = (text: string) => text.split('\n').filter((line) => HTTP.test(line));
  assert.deepEqual(lines(await metricsText()).sort(), lines((await node.render()).body).sort());
  assert.match(await metricsText(), /# TYPE attune_http_request_duration_seconds histogram\n/);
});

test('a batch that is delivered twice, or to ten consumers at once, counts once', async () => {
  const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD'];
  const batch = (at: number): RequestCountBatch => ({
    id: crypto.randomUUID(),
    // A different order in each, as isolates have.
    counts: [...methods.slice(at % 6), ...methods.slice(0, at % 6)].flatMap((method) =>
      Array.from({ length: 18 }, (_, bucket) => ({
        method,
        route: '/twice',
        status: 200,
        bucket,
        count: 2,
        seconds: 1,
      })),
    ),
  });
  const shared = Array.from({ length: 300 }, (_, at) => batch(at));
  const own = Array.from({ length: 10 }, (_, at) => batch(at));
  await Promise.all(own.map((alone, at) => addRequestCounts(db, [...(at % 2 ? shared : shared.toReversed()), alone])));
  await addRequestCounts(db, [...shared, ...shared]);
  assert.match(await metricsText(), /_count\{method="PUT",route="\/twice",status="200"} 11160\n/);
  assert.match(await metricsText(), /_sum\{method="PUT",route="\/twice",status="200"} 5580\n/);
  // Batches without a common id still update the same rows.
  await Promise.all(Array.from({ length: 10 }, (_, at) => addRequestCounts(db, [batch(at)])));
  assert.match(await metricsText(), /_count\{method="PUT",route="\/twice",status="200"} 11520\n/);
});

test('batch ids are kept for a day', async () => {
  await addRequestCounts(db, [{ id: 'yesterday', counts: [] }]);
  await db.update(answer_batches).set({ created_at: sql`now() - interval '25 hours'` }).where(sql`id = 'yesterday'`);
  await addRequestCounts(db, [{ id: 'today', counts: [] }]);
  await deleteOldBatches(db);
  assert.equal(await db.$count(answer_batches, sql`id = 'yesterday'`), 0);
  assert.equal(await db.$count(answer_batches, sql`id = 'today'`), 1);
});

test('the active policy is a gauge', async () => {
  assert.doesNotMatch(await metricsText(), /attune_active_policy_info\{/);
  await registerPolicy(db, { id: 'pol_a', name: 'a', manifest: {} });
  await activatePolicy(db, 'pol_a', 'test');
  assert.match(await metricsText(), /\nattune_active_policy_info\{policy="pol_a"\} 1\n/);
});

test('a failing queue does not fail the response, and the next second is sent again', async (context) => {
  const log = context.mock.method(console, 'error', () => {});
  const isolate = openIsolate(() => Promise.reject(new Error('no such queue')));
  const response = { method: 'GET', route: '/status', status: 200, seconds: 0.1 };
  isolate.observe(response);
  await isolate.settle();
  assert.match(log.mock.calls[0]!.arguments[0], /^metrics: sending to the queue failed\n {2}Error: no such queue\n/);
  isolate.observe(response);
  assert.equal(isolate.waited.length, 2);
  await isolate.settle();
});

test('a request that ends before its flush leaves the flush to a later one', () => {
  const accumulator = new MetricsAccumulator();
  assert.equal(accumulator.claimFlush(1_000_000), true);
  assert.equal(accumulator.claimFlush(1_000_500), false);
  assert.equal(accumulator.claimFlush(1_006_000), true);
});

test('unknown methods share one time series', () => {
  const accumulator = new MetricsAccumulator();
  for (const method of ['BREW', 'WHEN']) accumulator.add({ method, route: 'none', status: 404, seconds: 0 });
  assert.deepEqual(
    accumulator.drain().map(({ method, count }) => [method, count]),
    [['OTHER', 2]],
  );
});

test('without Postgres GET /metrics says so, and responses do not fail', async () => {
  const gone = connect(url.replace(/:\d+\//, ':1/'), { max: 1 });
  const metrics = openWorkerMetrics({
    db: gone.db,
    queue: { send: async () => ({}) as never },
    waitUntil() {},
    accumulator: new MetricsAccumulator(),
  });
  metrics.observeResponse({ method: 'GET', route: '/status', status: 200, seconds: 0.1 });
  assert.match((await metrics.render()).body, /^attune_postgres_up 0$/m);
  await gone.close();
});
