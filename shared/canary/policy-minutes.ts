// What each policy served, by minute: processes count for themselves and add what they counted every few seconds. Rows are
// locked in one order, so that processes which add to the same minutes do not lock each other out.

import { getTableColumns, inArray, lt, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { policy_minutes } from '../database/schema.ts';

const RETENTION = sql`interval '30 days'`;
/** Rows that one addition removes at most. */
const MAX_REMOVED = 100;

export type PolicyMinute = typeof policy_minutes.$inferInsert;

const { policy_id, minute, ...sums } = getTableColumns(policy_minutes);

/** Adds to the rows of these minutes; one row for each policy and minute. Names that are left out add nothing. */
export async function addPolicyMinutes(db: Database, rows: PolicyMinute[]): Promise<void> {
  if (rows.length === 0) return;
  const key = (row: PolicyMinute) => `${row.policy_id} ${row.minute.toISOString()}`;
  const ordered = [...rows].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  const added = Object.entries(sums).map(([name, column]): [string, SQL] => [
    name,
    sql`${column} + excluded.${sql.identifier(name)}`,
  ]);
  // Before: once they are stored nothing may fail, or they would be added again.
  const expired = db
    .select({ row: sql`ctid` })
    .from(policy_minutes)
    .where(lt(minute, sql`now() - ${RETENTION}`))
    .limit(MAX_REMOVED)
    .for('update', { skipLocked: true });
  await db.delete(policy_minutes).where(inArray(sql`ctid`, expired));
  await db
    .insert(policy_minutes)
    .values(ordered)
    .onConflictDoUpdate({ target: [policy_id, minute], set: Object.fromEntries(added) });
}
