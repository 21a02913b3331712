// Whether the selected preferences are still what they were: selecting takes a while, and meanwhile a rater may change or
// retract a vote, or an administrator erase it.
import { and, asc, inArray, isNull } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { preferences } from '../../shared/database/schema.ts';
import type { RoundPair } from './round-pairs.ts';

const QUERY_ROWS = 1000;

/** Locks them until the transaction ends; then they are in a round, and neither changed nor retracted any more. */
export async function lockPairs(transaction: Database, pairs: Pick<RoundPair, 'id' | 'xid'>[]): Promise<boolean> {
  const selected = new Map(pairs.map(({ id, xid }) => [id, xid]));
  const ids = [...selected.keys()].sort();
  for (let at = 0; at < ids.length; at += QUERY_ROWS) {
    const chunk = ids.slice(at, at + QUERY_ROWS);
    const found = await transaction
      .select({ id: preferences.id, xid: preferences.xid })
      .from(preferences)
      .where(and(inArray(preferences.id, chunk), isNull(preferences.erased_at)))
      .orderBy(asc(preferences.id))
      .for('share');
    if (found.length < chunk.length || found.some(({ id, xid }) => xid !== selected.get(id))) return false;
  }
  return true;
}
