// API keys in Postgres: created, revoked and given new secrets by administrators, each with a line in the audit log.
import { and, eq, getTableColumns, isNull, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { api_keys } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import type { Scope } from '../scopes.ts';
import { recordAudit } from './audit.ts';
import { createToken } from './token.ts';

/** By Postgres's clock, so that a process whose own is wrong decides nothing. */
const withExpiry = {
  ...getTableColumns(api_keys),
  is_expired: sql<boolean>`coalesce(${api_keys.expires_at} <= now(), false)`,
};

export type KeyRow = typeof api_keys.$inferSelect;
export type FoundKey = KeyRow & { is_expired: boolean };
type Transaction = Pick<Database, 'insert' | 'update' | 'select'>;

export type NewKey = {
  name: string;
  tenant: string;
  scopes: Scope[];
  expiresAt: Date | null;
  /** null: the server's setting */
  requestsPerMinute: number | null;
  tokensPerMinute: number | null;
  /** null: no limit */
  concurrentGenerations: number | null;
  rowsPerDay: number | null;
};

/** `token` is known only now. `actor`: who creates it. */
export async function createKey(
  transaction: Transaction,
  { name, tenant, scopes, expiresAt, requestsPerMinute, tokensPerMinute, concurrentGenerations, rowsPerDay }: NewKey,
  actor: string,
): Promise<{ row: KeyRow; token: string }> {
  const { id, token, secretHash } = createToken('key');
  const [row] = await transaction
    .insert(api_keys)
    .values({
      id,
      secret_hash: secretHash,
      name,
      tenant,
      scopes,
      expires_at: expiresAt,
      requests_per_minute: requestsPerMinute,
      tokens_per_minute: tokensPerMinute,
      concurrent_generations: concurrentGenerations,
      rows_per_day: rowsPerDay,
      created_by: actor,
    })
    .returning(withExpiry);
  if (row!.is_expired)
    throw new AttuneError('expires_at: is in the past; give a later time, or leave it out', {
      param: 'expires_at',
      code: 'invalid_expiry',
    });
  await recordAudit(transaction, { actor, action: 'key.created', target: id, details: { name, tenant, scopes } });
  return { row: row!, token };
}

/** It stops working within a second, everywhere. Revoking it again changes nothing. */
export async function revokeKey(transaction: Transaction, id: string, actor: string): Promise<KeyRow> {
  const [row] = await transaction
    .update(api_keys)
    .set({ revoked_at: new Date() })
    .where(and(eq(api_keys.id, id), isNull(api_keys.revoked_at)))
    .returning();
  if (!row) return findKeyOrThrow(transaction, id);
  await recordAudit(transaction, { actor, action: 'key.revoked', target: id, details: { name: row.name } });
  return row;
}

/** A new secret; the one before stops working within a second. Throws a 409 for a revoked key. */
export async function rotateKey(
  transaction: Transaction,
  id: string,
  actor: string,
): Promise<{ row: KeyRow; token: string }> {
  const { token, secretHash } = createToken('key', id);
  const [row] = await transaction
    .update(api_keys)
    .set({ secret_hash: secretHash })
    .where(and(eq(api_keys.id, id), isNull(api_keys.revoked_at)))
    .returning();
  if (!row) {
    await findKeyOrThrow(transaction, id);
    throw new AttuneError(`${id} is revoked, for good; create a new key`, { status: 409, code: 'key_revoked' });
  }
  await recordAudit(transaction, { actor, action: 'key.rotated', target: id, details: { name: row.name } });
  return { row, token };
}

export async function findKey(db: Pick<Database, 'select'>, id: string): Promise<FoundKey | null> {
  const [row] = await db.select(withExpiry).from(api_keys).where(eq(api_keys.id, id));
  return row ?? null;
}

/** When it was last used, to the minute. */
export async function recordKeyUse(db: Pick<Database, 'update'>, id: string): Promise<void> {
  await db.update(api_keys).set({ last_used_at: new Date() }).where(eq(api_keys.id, id));
}

async function findKeyOrThrow(db: Pick<Database, 'select'>, id: string): Promise<KeyRow> {
  const row = await findKey(db, id);
  if (row) return row;
  throw new AttuneError(
    `there is no key ${id}; GET /v1/keys or \`attune keys list\` lists the keys (keys of API_KEY are changed in that setting)`,
    {
      status: 404,
      param: 'id',
      code: 'not_found',
    },
  );
}
