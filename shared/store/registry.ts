// The policies that exist and the one that is active, in Postgres. A policy's row is written once; which one is active
// is a log that only grows, so that a rollback is one more row. Every change tells the edges at once by NOTIFY.

import { desc, eq, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { activations, policies } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { writeEvent } from '../webhooks/event.ts';

/** NOTIFY channel for anything that edges show or serve: policies and rounds. */
export const NEWS = 'attune_news';

export type PolicyRow = typeof policies.$inferSelect;

export async function registerPolicy(db: Database, row: typeof policies.$inferInsert): Promise<void> {
  await db.insert(policies).values(row).onConflictDoNothing();
}

export async function findPolicy(db: Database, id: string): Promise<PolicyRow> {
  const [row] = await db.select().from(policies).where(eq(policies.id, id));
  if (!row)
    throw new AttuneError(`there is no policy ${id}; \`attune policies list\` shows those there are`, {
      status: 404,
      param: 'model',
      code: 'model_not_found',
    });
  return row;
}

/** The id of the active policy, or null before the first one. */
export async function activePolicyId(db: Database): Promise<string | null> {
  const [row] = await db.select().from(activations).orderBy(desc(activations.id)).limit(1);
  return row?.policy_id ?? null;
}

export async function activatePolicy(db: Database, id: string, reason: string): Promise<void> {
  await findPolicy(db, id);
  await db.transaction(async (transaction) => {
    const previous = await activePolicyId(transaction);
    await transaction.insert(activations).values({ policy_id: id, reason });
    await writeEvent(transaction, 'policy.activated', { id, reason, previous });
    await transaction.execute(sql`select pg_notify(${NEWS}, ${id})`);
  });
}

/** The policy that a rollback would make active, and the active one that it leaves. */
export async function previousPolicy(db: Database): Promise<{ id: string; active: string }> {
  const active = await activePolicyId(db);
  if (!active) throw new AttuneError('there is no active policy to roll back from', { status: 409, retry: false });
  // Going back twice goes back two policies: those that the latest rollbacks left are not returned to.
  const log = await db.select().from(activations).orderBy(desc(activations.id));
  const left = new Set<string>();
  for (const { reason } of log) {
    if (reason.startsWith('rollback from ')) left.add(reason.slice('rollback from '.length));
    else break;
  }
  const before = log.find((row) => row.policy_id !== active && !left.has(row.policy_id));
  if (!before)
    throw new AttuneError(`${active} is the first policy; there is nothing to roll back to`, {
      status: 409,
      retry: false,
    });
  return { id: before.policy_id, active };
}

/** Makes the previous policy active, unless `check` of it throws; returns its id. */
export async function rollbackPolicy(db: Database, check: (id: string) => Promise<unknown>): Promise<string> {
  const { id, active } = await previousPolicy(db);
  await check(id);
  await activatePolicy(db, id, `rollback from ${active}`);
  return id;
}
