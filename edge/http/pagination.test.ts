import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKey } from '../../shared/access/keys.ts';
import { api_keys, rounds } from '../../shared/database/schema.ts';
import { newId } from '../../shared/id.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { selectPage } from './pagination.ts';

const { db } = await openTestDatabase();

/** Inserts a round in a transaction that commits after `hold`. */
const insertRound = (hold: () => Promise<unknown>) =>
  db.transaction(async (transaction) => {
    const id = newId('round_');
    await transaction.insert(rounds).values({ id, trigger: 'api', settings: {} });
    await hold();
    return id;
  });

/** The ids after `after`, oldest first, page by page. */
async function sync(after: string | undefined): Promise<string[]> {
  const ids: string[] = [];
  for (let hasMore = true; hasMore; ) {
    const page = await selectPage(db, rounds, { after: ids.at(-1) ?? after, limit: 7, order: 'asc' }, 'round');
    ids.push(...page.rows.map(({ id }) => id));
    hasMore = page.hasMore;
  }
  return ids;
}

test('a reader that goes on from its last id gets a row whose transaction commits late', async () => {
  const commit = Promise.withResolvers<void>();
  const inserted = Promise.withResolvers<void>();
  const early = insertRound(() => {
    inserted.resolve();
    return commit.promise;
  });
  await inserted.promise;
  const late = await insertRound(async () => {});
  const first = await sync(undefined);
  commit.resolve();
  const earlyId = await early;
  assert.ok(earlyId < late);
  assert.deepEqual([...first, ...(await sync(first.at(-1)))].sort(), [earlyId, late]);
});

test('a reader gets every row of concurrent writers once', async () => {
  const seen = await sync(undefined);
  const before = seen.length;
  const written: string[] = [];
  let isWriting = true;
  const write = async () => {
    for (let count = 0; count < 40; count++) written.push(await insertRound(() => sleep(Math.random() * 10)));
  };
  const writers = Promise.all(Array.from({ length: 10 }, write)).then(() => {
    isWriting = false;
  });
  while (isWriting) seen.push(...(await sync(seen.at(-1))));
  await writers;
  seen.push(...(await sync(seen.at(-1))));
  assert.equal(written.length, 400);
  assert.deepEqual(seen.slice(before).sort(), written.sort());
});

test('keys, whose ids are random, are listed newest first, page by page', async () => {
  const created: string[] = [];
  const limits = { requestsPerMinute: null, tokensPerMinute: null, concurrentGenerations: null, rowsPerDay: null };
  for (let count = 0; count < 9; count++) {
    const key = { name: 'a key', tenant: 'default', scopes: ['read' as const], expiresAt: null, ...limits };
    const { row } = await db.transaction((transaction) => createKey(transaction, key, 'command'));
    created.push(row.id);
  }
  const listed: string[] = [];
  for (let hasMore = true; hasMore; ) {
    const page = await selectPage(db, api_keys, { after: listed.at(-1), limit: 4, order: 'desc' }, 'key');
    listed.push(...page.rows.map(({ id }) => id));
    hasMore = page.hasMore;
  }
  assert.deepEqual(listed, created.reverse());
});

test('a page after an unknown id is a 404 that names it', async () => {
  for (const order of ['asc', 'desc'] as const)
    await assert.rejects(selectPage(db, rounds, { after: 'round_none', limit: 1, order }, 'round'), {
      status: 404,
      param: 'after',
      code: 'not_found',
      message: 'there is no round round_none',
    });
});
