import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { parquetReadObjects } from 'hyparquet';
import { openTestDatabase } from '../../testing/database.ts';
import type { Json } from '../../testing/edge-server.ts';
import { storeComparison, storePreference } from '../../testing/stored-rows.ts';
import { storeVersionedQueue, storeVotedItem } from '../../testing/voted-queues.ts';
import { comparisons, generations } from '../database/schema.ts';
import { type ComparisonFilter, countComparisons, readComparisons } from './comparisons.ts';
import { toParquet } from './parquet.ts';
import type { ComparisonRecord } from './record.ts';

const { db } = await openTestDatabase();
const chat = [
  { role: 'system' as const, content: 'Be brief.' },
  { role: 'user' as const, content: 'سلام، ü 😀' },
];

const read = (filter: ComparisonFilter) => Array.fromAsync(readComparisons(db, filter));

test('a comparison is exported with every vote, what its raters said, and how it was given to them', async () => {
  await storeVersionedQueue(db, 'que_1');
  const id = await storeVotedItem(db, 'que_1', chat);
  const [record, ...others] = await read({ tenant: 'default', queue: 'que_1' });
  assert.deepEqual(others, []);
  assert.deepEqual(
    [record!.id, record!.prompt, record!.queue, record!.a.policy, record!.a.token_ids, record!.a.logps],
    [id, chat, 'que_1', 'pol_1', [7], [-1]],
  );
  assert.deepEqual(record!.item, { id: 'item_que_1', kind: 'rated', group: 'short', expected: null });
  const [vote, repeat, skip] = record!.votes;
  assert.deepEqual(
    [vote!.choice, vote!.strength, vote!.tags, vote!.seconds],
    ['a', 'slightly', ['true', 'brief'], 12.25],
  );
  assert.deepEqual([vote!.edit, vote!.comment, vote!.trust], ['edited', 'the first is right', 'rated']);
  assert.deepEqual(vote!.reservation, {
    id: 'res_que_1_rater_1',
    purpose: 'vote',
    swapped: true,
    probability: 0.25,
    guidelines_version: 2,
  });
  assert.deepEqual([repeat!.choice, repeat!.strength, repeat!.reservation!.purpose], ['b', 'much', 'repeat']);
  assert.deepEqual([skip!.choice, skip!.rater, record!.votes.length], ['skip', 'rater_3', 3]);
});

test('a Parquet file has the same as the JSON lines, in row groups that are written as they fill', async () => {
  await storeComparison(db, 'nobody voted on');
  const { id, sides } = await storeComparison(db, 'long '.repeat(200));
  await db.update(generations).set({ token_ids: [], logps: [], stop_token: 3 }).where(eq(generations.id, sides[0]!));
  await storePreference(db, 'tie', { source: 'comparison', comparison_id: id, choice: 'tie', rater: 'user:ann' });
  const records = await read({ tenant: 'default' });
  assert.equal(records.length, 3);
  assert.deepEqual(await readParquet(records), records);
  // Enough for several row groups.
  const many = Array.from({ length: 5000 }, (_, at) => ({ ...records[at % 3]!, id: `cmp_${at}` }));
  const chunks = await Array.fromAsync(toParquet(iterate(many)));
  assert.equal(chunks.length, 3);
  assert.deepEqual(await readParquet(many), many);
  assert.deepEqual(await readParquet([]), []);
});

test('erased votes and comparisons, and those of other tenants and times, are not exported', async () => {
  const now = Date.now();
  const first = await storeComparison(db, 'first', { tenant: 'times' });
  const second = await storeComparison(db, 'second', { tenant: 'times' });
  const gone = await storeComparison(db, 'gone', { tenant: 'times' });
  await db.update(comparisons).set({ erased_at: new Date() }).where(eq(comparisons.id, gone.id));
  await db
    .update(comparisons)
    .set({ created_at: new Date(now - 60_000) })
    .where(eq(comparisons.id, first.id));
  await storePreference(db, 'erased', {
    source: 'comparison',
    comparison_id: second.id,
    tenant: 'times',
    erased_at: new Date(),
  });
  const list = async (filter: Partial<ComparisonFilter>) =>
    (await read({ tenant: 'times', ...filter })).map((record) => record.id);
  assert.deepEqual(await list({}), [first.id, second.id]);
  assert.deepEqual(await list({ since: new Date(now - 30_000) }), [second.id]);
  assert.deepEqual(await list({ until: new Date(now - 30_000) }), [first.id]);
  assert.deepEqual(await list({ queue: 'que_1' }), []);
  assert.equal(await countComparisons(db, { tenant: 'times' }), 2);
  assert.deepEqual((await read({ tenant: 'times' }))[1]!.votes, []);
});

async function* iterate<T>(values: T[]): AsyncGenerator<T> {
  yield* values;
}

/** What a reader of the file gets, in the form of the JSON lines. */
async function readParquet(records: ComparisonRecord[]): Promise<ComparisonRecord[]> {
  const chunks = await Array.fromAsync(toParquet(iterate(records)));
  const file = Buffer.concat(chunks);
  const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.length);
  const rows = (await parquetReadObjects({ file: bytes })) as Json[];
  const fromJson = (text: string | null) => text && JSON.parse(text);
  const toSide = (side: Json) => ({ ...side, sampling: fromJson(side.sampling), seed: Number(side.seed) });
  const toSeconds = (time: Date) => time.getTime() / 1000;
  return rows.map(({ messages, ...row }) => ({
    ...row,
    created: toSeconds(row.created),
    // Its reader makes an object that is null undefined.
    item: row.item ?? null,
    prompt: row.prompt ?? messages,
    a: toSide(row.a),
    b: toSide(row.b),
    votes: row.votes.map((vote: Json) => ({
      ...vote,
      created: toSeconds(vote.created),
      reservation: vote.reservation ?? null,
      metadata: fromJson(vote.metadata),
    })),
    metadata: fromJson(row.metadata),
  }));
}
