// Raters: people who sign in with an invitation and vote as themselves. The audit log names them by id only, because its rows
// outlive an erasure.
import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { raters } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { newId } from '../id.ts';
import { recordAudit } from './audit.ts';
import type { Owner } from './owner.ts';

export type RaterRow = Omit<typeof raters.$inferSelect, 'xid'>;
type Transaction = Pick<Database, 'insert' | 'update'>;

export type RaterFields = { name: string; skills: string[]; active: boolean };

export async function createRater(transaction: Transaction, fields: RaterFields, owner: Owner): Promise<RaterRow> {
  const values = { id: newId('rater_'), ...fields, ...owner };
  const [row] = await transaction.insert(raters).values(values).returning();
  const details = { active: fields.active, tenant: owner.tenant };
  await recordAudit(transaction, { actor: owner.created_by, action: 'rater.created', target: row!.id, details });
  return row!;
}

/** A rater who is no longer active is signed out within a second, everywhere, and for good. */
export async function updateRater(
  transaction: Transaction,
  rater: RaterRow,
  changes: Partial<RaterFields>,
  actor: string,
): Promise<RaterRow> {
  const [row] = await transaction
    .update(raters)
    .set({ ...changes, ...(changes.active === false ? { deactivated_at: sql`now()` } : {}) })
    .where(and(eq(raters.id, rater.id), isNull(raters.erased_at)))
    .returning();
  if (!row) throw raterNotFound(rater.id);
  const details = { changed: Object.keys(changes), active: row.active };
  await recordAudit(transaction, { actor, action: 'rater.updated', target: row.id, details });
  return row;
}

/** Null if there is no such rater, or the rater was erased. */
export async function findRater(db: Pick<Database, 'select'>, id: string): Promise<RaterRow | null> {
  const [row] = await db
    .select()
    .from(raters)
    .where(and(eq(raters.id, id), isNull(raters.erased_at)));
  return row ?? null;
}

export async function findRaterOrThrow(db: Pick<Database, 'select'>, id: string): Promise<RaterRow> {
  const row = await findRater(db, id);
  if (row) return row;
  throw raterNotFound(id);
}

function raterNotFound(id: string): AttuneError {
  return new AttuneError(`there is no rater ${id}; GET /v1/raters or \`attune raters list\` lists the raters`, {
    status: 404,
    param: 'id',
    code: 'not_found',
  });
}
