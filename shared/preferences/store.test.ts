import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestDatabase } from '../../testing/database.ts';
import { preferences, round_pairs, rounds } from '../database/schema.ts';
import { newId } from '../id.ts';
import { countNewPairs } from '../rounds/pairs.ts';
import { countPreferences } from './store.ts';

const { db } = await openTestDatabase();

test('pairs_not_yet_seen equals the number that the schedule counts, also after a failed round', async () => {
  const ids = Array.from({ length: 5 }, () => newId('pref_'));
  await db.insert(preferences).values(
    ids.map((id, at) => ({
      id,
      source: 'raw' as const,
      choice: at === 0 ? ('tie' as const) : ('a' as const),
      rater: 'x',
      prompt: id,
      chosen: 'yes',
      // Two equal responses are not a pair.
      rejected: at === 1 ? 'yes' : 'no',
      content_hash: id,
    })),
  );
  const expectCount = async (count: number) => {
    assert.equal((await countPreferences(db)).pairs_not_yet_seen, count);
    assert.equal(await countNewPairs(db), count);
  };
  const endRound = async (status: 'failed' | 'succeeded', preferenceId: string) => {
    const round_id = newId('round_');
    await db.insert(rounds).values({ id: round_id, trigger: 'api', settings: {}, status });
    await db.insert(round_pairs).values({ round_id, preference_id: preferenceId, split: 'train', replay: false });
  };
  await expectCount(3);
  await endRound('failed', ids[2]!);
  await expectCount(3);
  await endRound('succeeded', ids[3]!);
  await expectCount(2);
});
