// Which round a trainer runs next, and its claim on it: a fresh owner, without which nobody can write the round
// (stages/log.ts). A round whose trainer died is resumed from its last checkpoint; after MAX_ATTEMPTS it is marked failed,
// and the next round uses its pairs.

import { randomUUID } from 'node:crypto';
import { and, asc, eq, sql } from 'drizzle-orm';
import type { Database } from '../shared/database/connect.ts';
import { rounds } from '../shared/database/schema.ts';
import { AttuneError } from '../shared/error.ts';
import { isUniqueViolation } from '../shared/postgres-errors.ts';
import type { RoundRow } from '../shared/rounds/schedule.ts';
import { getActivePolicyId } from '../shared/store/registry.ts';
import type { RoundLog } from './stages/log.ts';
import type { OwnedRound } from './stages/round-context.ts';

/** A round that crashes every trainer is not retried forever. */
const MAX_ATTEMPTS = 5;

/** This trainer holds the lock, so the trainer of a round that is still `running` has died. */
export async function findNextRound(db: Database): Promise<RoundRow | undefined> {
  const [interrupted] = await db.select().from(rounds).where(eq(rounds.status, 'running'));
  if (interrupted) return interrupted;
  const [queued] = await db.select().from(rounds).where(eq(rounds.status, 'queued')).orderBy(asc(rounds.id)).limit(1);
  return queued;
}

/** Makes this trainer the owner of the round; null if another one was faster. */
export async function claim(db: Database, found: RoundRow): Promise<OwnedRound | null> {
  const { id, status, owner, attempts, started_at } = found;
  // Also of a round that fails before it selects its pairs: the schedule looks at the last round of the active policy.
  const baseline_id = found.baseline_id ?? (await getActivePolicyId(db));
  const parent_id = found.parent_id ?? (found.from_root ? null : baseline_id);
  const isAsFound = and(
    eq(rounds.id, id),
    eq(rounds.status, status),
    sql`${rounds.owner} is not distinct from ${owner}`,
  );
  try {
    const [round] = await db
      .update(rounds)
      .set({
        status: 'running',
        owner: randomUUID(),
        attempts: attempts + 1,
        started_at: started_at ?? new Date(),
        parent_id,
        baseline_id,
      })
      .where(isAsFound)
      .returning();
    return (round as OwnedRound | undefined) ?? null;
  } catch (error) {
    // Another round is running (the index rounds_one_running).
    if (isUniqueViolation(error)) return null;
    throw error;
  }
}

/** `found`: the row before this trainer claimed it. Throws AttuneError after too many attempts. */
export async function logResumption(log: RoundLog, { stage, owner, attempts }: RoundRow): Promise<void> {
  if (attempts >= MAX_ATTEMPTS)
    throw new AttuneError(
      `${attempts} trainers were stopped while running it, the last one while ${stage}; the next round will use its pairs`,
    );
  // One that released the round has logged why.
  if (owner === null) await log.addEvent('message', 'resumed', { attempts });
  else await log.addEvent('message', `resumed: its trainer was stopped while ${stage}`, { attempts }, 'warn');
}
