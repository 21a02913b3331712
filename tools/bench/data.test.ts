import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'drizzle-orm';
import { policies, preferences } from '../../shared/database/schema.ts';
import { countPreferences } from '../../shared/preferences/store.ts';
import { walkLineage } from '../../shared/rounds/lineage.ts';
import { findObstacle } from '../../shared/rounds/schedule.ts';
import { MIN_ROWS, NEW_PAIRS } from './data-fill.ts';
import { withFilledDatabase } from './data-system.ts';

test('a filled database is what a year of votes and rounds would have left', async () => {
  await withFilledDatabase(
    { rows: MIN_ROWS, votes: 3 },
    () => {},
    async ({ url, settings, connection, policyId }) => {
      const { db } = connection;
      const stats = await countPreferences(db, 'default');
      assert.equal(stats.total, MIN_ROWS);
      assert.equal(await db.$count(preferences), MIN_ROWS);
      assert.equal(stats.pairs_not_yet_seen, NEW_PAIRS - NEW_PAIRS / 50);
      const lineage = await Array.fromAsync(walkLineage(db, policyId));
      assert.equal(lineage.length, await db.$count(policies));
      const learned = sql`select preference_id from round_pairs join policies using (round_id)`;
      const lost = sql`choice = 'a' and id not in (${learned}) and id not in (select preference_id from new_pairs)`;
      assert.equal(await db.$count(preferences, lost), 0);
      assert.match(
        (await findObstacle(db, settings))!,
        /was refused on these pairs; the next one needs 20 more .*, and 0 have come$/,
      );
      const response = await fetch(`${url}/v1/comparisons?limit=4`);
      const { data } = (await response.json()) as { data: { voted: boolean }[] };
      assert.deepEqual(
        data.map(({ voted }) => voted),
        [false, false, false, true],
      );
    },
  );
});
