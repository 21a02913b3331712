// Whether the selected preferences are still what they were: selecting takes a while, and meanwhile a rater may change or
// retract a vote, or an administrator erase it.
import { asc, inArray } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { preferences } from '../../shared/database/schema.ts';
import type { RoundPair } from './round-pairs.ts';

/** `isErased`: by an administrator; otherwise whoever gave it has changed or retracted it. */
export type ChangedPair = { id: string; isErased: boolean };

const QUERY_ROWS = 1000;

/**
 * Those that are no longer what they were. If there are none, all are locked until the transaction ends; then they are in a
 * round, and neither changed nor retracted any more.
 */
export async function lockPairs(transaction: Database, pairs: Pick<RoundPair, 'id' | 'xid'>[]): Promise<ChangedPair[]> {
  const selected = new Map(pairs.map(({ id, xid }) => [id, xid]));
  const ids = [...selected.keys()].sort();
  const changed: ChangedPair[] = [];
  for (let at = 0; at < ids.length; at += QUERY_ROWS) {
    const chunk = ids.slice(at, at + QUERY_ROWS);
    const { id, xid, erased_at } = preferences;
    const rows = await transaction
      .select({ id, xid, erased_at })
      .from(preferences)
      .where(inArray(id, chunk))
      .orderBy(asc(id))
      .for('share');
    const found = new Map(rows.map((row) => [row.id, row]));
    for (const pair of chunk) {
      const row = found.get(pair);
      const isErased = row !== undefined && row.erased_at !== null;
      if (isErased || row?.xid !== selected.get(pair)) changed.push({ id: pair, isErased });
    }
  }
  return changed;
}
