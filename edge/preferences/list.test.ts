import assert from 'node:assert/strict';
import { test } from 'node:test';
import { preference_facets, preferences } from '../../shared/database/schema.ts';
import type { AttuneError } from '../../shared/error.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { preferenceListQuery } from './filter.ts';
import { selectPreferences } from './list.ts';

const { db } = await openTestDatabase();

const COUNT = 1200;
const LIMITS = { near: 100, compared: 1000 };

type Row = typeof preferences.$inferInsert & { policy: string };

const toId = (at: number, tenant = '0') => `pref_${String(at).padStart(12, '0')}${tenant.padStart(20, '0')}`;

/** Oldest first. What rows have changes with their age, so that a page of many is not among the newest or the oldest. */
const rows: Row[] = Array.from({ length: COUNT }, (_, at) => ({
  id: toId(at),
  source: at < 300 ? 'import' : 'raw',
  choice: at < 600 ? 'a' : 'b',
  rater: ['ann', 'bob', 'cid'][at % 3]!,
  prompt: at % 2 === 0 ? `once upon a time ${at}` : `upon once ${at} time`,
  chosen: at < 500 ? 'ancient' : 'recent',
  rejected: at % 400 === 7 ? 'rare' : 'common',
  content_hash: String(at),
  erased_at: at % 97 === 0 ? new Date() : null,
  tenant: 'default',
  policy: at < 400 ? 'pol_old' : 'pol_new',
}));
const others: Row[] = rows.slice(0, 40).map((row, at) => ({ ...row, id: toId(at, 'small'), tenant: 'small' }));

const all = [...rows, ...others];
await db.insert(preferences).values(all);
await db.insert(preference_facets).values(
  all.map(({ id, tenant, policy }) => {
    return { tenant: tenant!, facet: 'policy' as const, value: policy, preference_id: id };
  }),
);

const read = async (query: object, tenant = 'default') =>
  selectPreferences(db, preferenceListQuery.parse(query), tenant, LIMITS);

/** Compares pages from the beginning and from within with the rows themselves. */
async function assertFound(query: object, matches: (row: Row) => boolean, tenant = 'default') {
  const matching = all.filter((row) => row.tenant === tenant && !row.erased_at && matches(row));
  for (const order of ['desc', 'asc'] as const) {
    const expected = matching.map(({ id }) => id);
    if (order === 'desc') expected.reverse();
    const cursors = [undefined, expected[2], expected[Math.floor(expected.length / 2)], expected.at(-1)];
    for (const after of new Set(cursors)) {
      const from = after === undefined ? 0 : expected.indexOf(after) + 1;
      const wanted = expected.slice(from, from + 20);
      const what = `${JSON.stringify(query)}, ${order} after ${after}`;
      const page = await waitUntil(async () => {
        const found = await read({ ...query, order, ...(after === undefined ? {} : { after }) }, tenant);
        // Oldest first, a row is listed once no older transaction is open.
        return (order === 'desc' || found.rows.length === wanted.length) && found;
      });
      assert.deepEqual(
        page.rows.map(({ id }) => id),
        wanted,
        what,
      );
      assert.equal(page.hasMore, expected.length > from + 20, what);
    }
  }
}

test('a page is the next of the list that match, wherever in the list they are', async () => {
  await assertFound({}, () => true);
  await assertFound({ choice: 'a' }, ({ choice }) => choice === 'a');
  await assertFound({ choice: 'b' }, ({ choice }) => choice === 'b');
  await assertFound({ rater: 'bob' }, ({ rater }) => rater === 'bob');
  await assertFound({ rater: 'nobody' }, () => false);
  await assertFound({ policy: 'pol_old' }, ({ policy }) => policy === 'pol_old');
  await assertFound({ policy: 'pol_none' }, () => false);
  await assertFound({ choice: 'a', rater: 'cid' }, ({ choice, rater }) => choice === 'a' && rater === 'cid');
  await assertFound({ source: 'import', choice: 'b' }, () => false);
  await assertFound({ policy: 'pol_new', choice: 'a' }, ({ policy, choice }) => policy === 'pol_new' && choice === 'a');
  await assertFound({ policy: 'pol_new', source: 'import' }, () => false);
});

test('so is a page of a search: for what all have, what only far ones have, and what none has', async () => {
  await assertFound({ search: 'time' }, () => true);
  await assertFound({ search: 'ancient' }, ({ chosen }) => chosen === 'ancient');
  await assertFound({ search: 'recent' }, ({ chosen }) => chosen === 'recent');
  await assertFound({ search: 'rare' }, ({ rejected }) => rejected === 'rare');
  await assertFound({ search: 'time -recent -ancient' }, () => false);
  await assertFound({ search: 'rare -recent' }, (row) => row.rejected === 'rare' && row.chosen === 'ancient');
  await assertFound({ search: 'rare or 11' }, ({ rejected, id }) => rejected === 'rare' || id === toId(11));
  await assertFound({ search: '!' }, () => false);
  await assertFound({ search: 'ancient', rater: 'ann' }, (row) => row.chosen === 'ancient' && row.rater === 'ann');
  await assertFound({ search: 'recent', policy: 'pol_old' }, () => false);
  await assertFound({ search: 'ancient', choice: 'a', policy: 'pol_new' }, (row) => {
    return row.chosen === 'ancient' && row.policy === 'pol_new';
  });
});

test('words that follow each other are found, also among many that have them in another order', async () => {
  await assertFound({ search: '"once upon"' }, ({ prompt }) => String(prompt).startsWith('once upon'));
  await assertFound({ search: '"upon once" rare' }, (row) => row.rejected === 'rare');
  await assertFound({ search: '"once upon" rare' }, () => false);
  await assertFound({ search: '"time once"', source: 'import' }, () => false);
  await assertFound({ search: 'rare -"once upon"' }, ({ rejected }) => rejected === 'rare');
});

test('a search that is about nearly everything, or has too many rows to compare, is refused with what to do', async () => {
  const refuses = (search: string, message: RegExp) =>
    assert.rejects(read({ search }), (error: AttuneError) => {
      assert.deepEqual([error.status, error.param, error.code], [400, 'search', 'search_too_broad']);
      assert.match(error.message, message);
      return true;
    });
  for (const search of ['-recent', '-recent -ancient', 'rare or -recent'])
    await refuses(search, /add a word that they/);
  await refuses('"time once"', /more than 1000 preferences .* add a rarer word, or filter them/);
});

test('a tenant finds its own rows only, however many the others have', async () => {
  await assertFound({ search: 'time' }, () => true, 'small');
  await assertFound({ search: 'ancient', rater: 'ann' }, ({ rater }) => rater === 'ann', 'small');
  await assertFound({ search: '"time once"' }, () => false, 'small');
  await assertFound({ policy: 'pol_new' }, () => false, 'small');
  await assertFound({ policy: 'pol_old', choice: 'a' }, () => true, 'small');
  await assert.rejects(read({ search: 'time', after: toId(5) }, 'small'), { status: 404 });
});
