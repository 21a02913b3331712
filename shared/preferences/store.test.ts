import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestDatabase } from '../../testing/database.ts';
import { connect } from '../database/connect.ts';
import { preferences } from '../database/schema.ts';
import { newId } from '../id.ts';
import { countNewPairs } from '../rounds/pairs.ts';
import { countPreferences, importPreferences } from './store.ts';

const { db, url } = await openTestDatabase();

test('the counts are those of the rows, and pairs_not_yet_seen equals the number that the schedule counts', async () => {
  const empty = { total: 0, pairs_not_yet_seen: 0, raters: 0, by_choice: {}, by_source: {} };
  assert.deepEqual(await countPreferences(db, 'default'), empty);
  const insert = async (choice: 'a' | 'tie', source: 'raw' | 'import', rater: string, rejected = 'no') => {
    const id = newId('pref_');
    const row = { id, source, choice, rater, prompt: id, chosen: 'yes', rejected, content_hash: id };
    await db.insert(preferences).values(row);
  };
  await insert('tie', 'raw', 'x');
  // Two equal responses are not a pair.
  await insert('a', 'raw', 'x', 'yes');
  for (const rater of ['x', 'y', 'x']) await insert('a', 'import', rater);
  assert.deepEqual(await countPreferences(db, 'default'), {
    total: 5,
    pairs_not_yet_seen: 3,
    raters: 2,
    by_choice: { a: 4, tie: 1 },
    by_source: { raw: 2, import: 3 },
  });
  assert.equal(await countNewPairs(db), 3);
  assert.equal(await countNewPairs(db, 2), 2);
});

test('concurrent votes and imports neither deadlock nor miscount', async () => {
  const { total, raters } = await countPreferences(db, 'default');
  const connection = connect(url, { max: 32 });
  const choices = ['a', 'b', 'tie', 'both_bad'] as const;
  // Of each batch the rows are in another order, and every rater is new to all of them.
  const batches = Array.from({ length: 128 }, (_, batch) =>
    Array.from({ length: batch % 4 === 0 ? 20 : 1 }, (_, at) => {
      const id = newId('pref_');
      const source = (batch + at) % 2 === 0 ? ('raw' as const) : ('import' as const);
      const choice = choices[(batch + at * 3) % 4]!;
      const rater = `rater ${(batch * 7 + at * 11) % 20}`;
      return { id, source, choice, rater, prompt: id, chosen: 'yes', rejected: 'no', content_hash: id };
    }),
  );
  await Promise.all(batches.map((batch) => connection.db.insert(preferences).values(batch)));
  await connection.close();
  const counts = await countPreferences(db, 'default');
  assert.equal(counts.total, total + batches.flat().length);
  assert.equal(counts.total, await db.$count(preferences));
  assert.equal(counts.raters, raters + 20);
});

test('a row whose rater has too long a name is refused, and the other rows of its batch are stored', async () => {
  const row = { prompt: 'a long name', chosen: 'yes', rejected: 'no' };
  // What does not compress: an index takes a long text that does.
  const name = Array.from({ length: 1000 }, () => newId('req_')).join('');
  const lines = [
    { ...row, rater: 'x' },
    { ...row, rater: name },
    { ...row, rater: 'y' },
  ].map((one) => JSON.stringify(one));
  const source = (async function* () {
    yield new TextEncoder().encode(lines.join('\n'));
  })();
  const owner = { tenant: 'long names', created_by: 'test' };
  const { imported, refused, errors } = await importPreferences(db, source, { owner, redact: null });
  assert.deepEqual([imported, refused, errors[0]!.row], [2, 1, 2]);
  assert.match(errors[0]!.message, /give at most 256/);
});
