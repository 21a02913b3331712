import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import * as schema from '../shared/database/schema.ts';
import { openTestDatabase } from '../testing/database.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { RoundEvents } from './round-events.ts';

const { sql, db } = await openTestDatabase();
const { rounds, round_events } = schema;
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** `queries` are those that the followers cause. */
function open(retryMs?: number) {
  const queries: string[] = [];
  const logged = drizzle(sql, { schema, logger: { logQuery: (query) => queries.push(query) } });
  return { queries, events: new RoundEvents(logged, sleep, retryMs) };
}

async function addRound(id: string, ...messages: string[]) {
  await db.insert(rounds).values({ id, trigger: 'api', settings: {} });
  await addEvents(id, ...messages);
}

const addEvents = (round_id: string, ...messages: string[]) =>
  db
    .insert(round_events)
    .values(messages.map((message) => ({ round_id, level: 'info' as const, type: 'message' as const, message })));
const end = (id: string) =>
  db.update(rounds).set({ status: 'cancelled', finished_at: new Date() }).where(eq(rounds.id, id));

function follow(
  events: RoundEvents,
  roundId: string,
  after = 0,
  findRefusal = async (): Promise<Error | null> => null,
) {
  const abort = new AbortController();
  const seen: string[] = [];
  const done = events.follow({ roundId, after, findRefusal, signal: abort.signal }, ({ message }) =>
    seen.push(message),
  );
  return { seen, done, abort };
}

test('fifty readers of two rounds get every event once, from where each began, with one poll for all', async () => {
  const { events, queries } = open();
  await addRound('round_a', 'a1', 'a2');
  await addRound('round_b', 'b1');
  const readers = Array.from({ length: 50 }, (_, at) => follow(events, at % 2 ? 'round_a' : 'round_b'));
  await waitUntil(() => readers.every(({ seen }) => seen.length > 0), 10_000);
  const { length: before } = queries;
  await addEvents('round_a', 'a3');
  await waitUntil(() => readers.every(({ seen }, at) => seen.length === (at % 2 ? 3 : 1)), 10_000);
  // Two queries a poll, whatever the number of readers.
  assert.ok(queries.length - before <= 20, `${queries.length - before} queries`);

  const [first] = await db.select().from(round_events).where(eq(round_events.message, 'a1'));
  const late = follow(events, 'round_a', first!.id);
  await end('round_a');
  assert.equal((await late.done)?.status, 'cancelled');
  assert.deepEqual(late.seen, ['a2', 'a3']);
  for (const [at, { seen, done, abort }] of readers.entries()) {
    if (at % 2 === 0) abort.abort();
    assert.equal((await done)?.id, at % 2 ? 'round_a' : undefined);
    assert.deepEqual(seen, at % 2 ? ['a1', 'a2', 'a3'] : ['b1']);
  }
});

test('a reader who may read no longer is told nothing more, and why; the others read on', async () => {
  const { events } = open();
  await addRound('round_r', 'r1');
  let refusal: Error | null = null;
  const refused = follow(events, 'round_r', 0, async () => refusal);
  const stays = follow(events, 'round_r');
  await waitUntil(() => refused.seen.length === 1 && stays.seen.length === 1, 10_000);
  refusal = new Error('the key was revoked');
  await assert.rejects(refused.done, /revoked/);
  await addEvents('round_r', 'r2');
  await waitUntil(() => stays.seen.length === 2, 10_000);
  assert.deepEqual(refused.seen, ['r1']);
  stays.abort.abort();
  await stays.done;
});

test('when the process stops every reader is told so, and nobody joins any more', async () => {
  const { events } = open();
  await addRound('round_s', 's1');
  const { seen, done } = follow(events, 'round_s');
  await waitUntil(() => seen.length === 1);
  events.close();
  await assert.rejects(done, { code: 'closing' });
  await assert.rejects(follow(events, 'round_s').done, { code: 'closing' });
});

test('without readers nothing is polled', async () => {
  const { events, queries } = open();
  await addRound('round_c', 'c1');
  const { seen, abort, done } = follow(events, 'round_c');
  await waitUntil(() => seen.length === 1, 10_000);
  abort.abort();
  assert.equal(await done, null);
  await sleep(1500);
  const { length: after } = queries;
  await sleep(2500);
  assert.equal(queries.length, after);
});

test('a history longer than a page is read whole', async () => {
  const { events } = open();
  await addRound('round_d', ...Array.from({ length: 2500 }, (_, at) => `d${at}`));
  await end('round_d');
  const { seen, done } = follow(events, 'round_d');
  await done;
  assert.deepEqual([seen.length, seen[0], seen.at(-1)], [2500, 'd0', 'd2499']);
});

/** Every poll fails meanwhile. */
async function withoutEvents(use: () => Promise<void>) {
  await sql`alter table round_events rename to round_events_away`;
  try {
    await use();
  } finally {
    await sql`alter table round_events_away rename to round_events`;
  }
}

test('readers miss nothing when polls fail for a while', async () => {
  const { events, queries } = open();
  await addRound('round_e', 'e1');
  const { seen, done } = follow(events, 'round_e');
  await waitUntil(() => seen.length === 1, 10_000);
  await withoutEvents(async () => {
    const { length: before } = queries;
    // Two queries a poll, and one may have begun before.
    await waitUntil(() => queries.length > before + 4, 30_000);
  });
  await addEvents('round_e', 'e2');
  await end('round_e');
  assert.equal((await done)?.status, 'cancelled');
  assert.deepEqual(seen, ['e1', 'e2']);
});

test('readers get the error when polls have failed for too long, and the next ones are served', async () => {
  const { events } = open(0);
  await addRound('round_f', 'f1');
  await withoutEvents(() => assert.rejects(follow(events, 'round_f').done, /round_events/));
  await end('round_f');
  const { seen, done } = follow(events, 'round_f');
  assert.equal((await done)?.id, 'round_f');
  assert.deepEqual(seen, ['f1']);
});
