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

type Answer = Parameters<typeof node.observeResponse>[0];

/** A Worker's isolate whose messages are kept here until a test delivers them. */
function openIsolate(send?: () => Promise<never>) {
  const messages: RequestCountBatch[] = [];
  const waited: Promise<unknown>[] = [];
  const tally = new MetricsAccumulator();
  // An instance for each request, as the Worker has it.
  const answer = (given: Answer) =>
    openWorkerMetrics({
      db,
      queue: {
        send: send ?? (async (message) => void messages.push(structuredClone(message) as RequestCountBatch) as never),
      },
      waitUntil: (promise) => void waited.push(promise),
      accumulator: tally,
    }).observeResponse(given);
  return { messages, waited, answer, settle: () => Promise.all(waited) };
}

const told = async () => (await openWorkerMetrics({ db, queue: { send: assert.fail }, waitUntil() {} }).render()).body;
const HTTP = /^attune_http_request_duration_seconds/;

test('what isolates answered adds up to the text that Node would tell of the same answers', async () => {
  const answers: Answer[] = [];
  for (let at = 0; at < 200; at++)
    answers.push({
      method: ['GET', 'POST'][at % 2]!,
      route: ['/v1/policies/:id', 'none', '/v1/chat/completions'][at % 3]!,
      status: [200, 404, 429][at % 7] ?? 200,
      // Eighths add up the same in any order; bounds themselves and more than the last one are among them.
      seconds: [0, 0.125, 0.25, 0.5, 1, 7.5, 10, 700][at % 8]!,
    });
  const isolates = [openIsolate(), openIsolate(), openIsolate()];
  for (const [at, answer] of answers.entries()) {
    isolates[at % 3]!.answer(answer);
    node.observeResponse(answer);
  }
  for (const isolate of isolates) await isolate.settle();
  const batches = isolates.flatMap(({ messages }) => messages);
  assert.equal(batches.length, 3, 'an isolate tells once for all that it answered in a second');
  await addRequestCounts(db, batches);
  const lines = (text: string) => text.split('\n').filter((line) => HTTP.test(line));
  assert.deepEqual(lines(await told()).sort(), lines((await node.render()).body).sort());
  assert.match(await told(), /# TYPE attune_http_request_duration_seconds histogram\n/);
});

test('a batch that is delivered twice, or to ten consumers at once, counts once', async () => {
  const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD'];
  const batch = (at: number): RequestCountBatch => ({
    id: crypto.randomUUID(),
    // In another order each, as isolates have them.
    answers: [...methods.slice(at % 6), ...methods.slice(0, at % 6)].flatMap((method) =>
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
  assert.match(await told(), /_count\{method="PUT",route="\/twice",status="200"} 11160\n/);
  assert.match(await told(), /_sum\{method="PUT",route="\/twice",status="200"} 5580\n/);
  // Batches that have no id in common still meet in the rows they add to.
  await Promise.all(Array.from({ length: 10 }, (_, at) => addRequestCounts(db, [batch(at)])));
  assert.match(await told(), /_count\{method="PUT",route="\/twice",status="200"} 11520\n/);
});

test('ids of batches are remembered for a day', async () => {
  await addRequestCounts(db, [{ id: 'yesterday', answers: [] }]);
  await db.update(answer_batches).set({ created_at: sql`now() - interval '25 hours'` }).where(sql`id = 'yesterday'`);
  await addRequestCounts(db, [{ id: 'today', answers: [] }]);
  await deleteOldBatches(db);
  assert.equal(await db.$count(answer_batches, sql`id = 'yesterday'`), 0);
  assert.equal(await db.$count(answer_batches, sql`id = 'today'`), 1);
});

test('the active policy is told', async () => {
  assert.doesNotMatch(await told(), /attune_active_policy_info\{/);
  await registerPolicy(db, { id: 'pol_a', name: 'a', manifest: {} });
  await activatePolicy(db, 'pol_a', 'test');
  assert.match(await told(), /\nattune_active_policy_info\{policy="pol_a"\} 1\n$/);
});

test('without a queue an answer is an answer, and the next second is told again', async (context) => {
  const log = context.mock.method(console, 'error', () => {});
  const isolate = openIsolate(() => Promise.reject(new Error('no such queue')));
  const answer = { method: 'GET', route: '/status', status: 200, seconds: 0.1 };
  isolate.answer(answer);
  await isolate.settle();
  assert.deepEqual(log.mock.calls[0]!.arguments, ['statistics: the queue took none:', 'no such queue']);
  isolate.answer(answer);
  assert.equal(isolate.waited.length, 2);
  await isolate.settle();
});

test('a request that ends before it has told leaves that to a later one', () => {
  const tally = new MetricsAccumulator();
  assert.equal(tally.claimFlush(1_000_000), true);
  assert.equal(tally.claimFlush(1_000_500), false);
  assert.equal(tally.claimFlush(1_006_000), true);
});

test('a method that nobody knows has no line of its own', () => {
  const tally = new MetricsAccumulator();
  for (const method of ['BREW', 'WHEN']) tally.add({ method, route: 'none', status: 404, seconds: 0 });
  assert.deepEqual(
    tally.take().map(({ method, count }) => [method, count]),
    [['OTHER', 2]],
  );
});

test('where Postgres cannot be reached the numbers are refused and answers are not', async () => {
  const gone = connect(url.replace(/:\d+\//, ':1/'), { max: 1 });
  const statistics = openWorkerMetrics({
    db: gone.db,
    queue: { send: async () => ({}) as never },
    waitUntil() {},
    accumulator: new MetricsAccumulator(),
  });
  statistics.observeResponse({ method: 'GET', route: '/status', status: 200, seconds: 0.1 });
  await assert.rejects(statistics.render());
  await gone.close();
});
