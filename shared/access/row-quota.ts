// The rows that a key may store in a day (UTC): each completion, comparison, preference, changed vote and imported
// row is one. They are counted in the transaction that stores them, so the limit holds across processes and Workers.

import { and, eq, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { key_usage } from '../database/schema.ts';
import { AttuneError } from '../error.ts';

export type RowQuota = { keyId: string; perDay: number };

const DAY_MS = 86_400_000;

/** By Postgres's clock, which is the same for all processes. */
const today = sql<string>`(now() at time zone 'utc')::date`;

/** Call it last in the transaction: those of one key wait for each other from here on. Throws a 429 over the limit. */
export async function countRows(
  transaction: Pick<Database, 'insert'>,
  quota: RowQuota | null,
  rows: number,
): Promise<void> {
  if (!quota || rows === 0) return;
  const [usage] = await transaction
    .insert(key_usage)
    .values({ key_id: quota.keyId, day: today, rows })
    .onConflictDoUpdate({
      target: [key_usage.key_id, key_usage.day],
      set: { rows: sql`${key_usage.rows} + excluded.rows` },
    })
    .returning({ rows: key_usage.rows });
  if (usage!.rows > quota.perDay) throw dailyRowsExceeded(quota);
}

/** How many rows are left, at the moment. */
export async function findRowsLeft(db: Pick<Database, 'select'>, quota: RowQuota | null): Promise<number> {
  if (!quota) return Infinity;
  const [usage] = await db
    .select({ rows: key_usage.rows })
    .from(key_usage)
    .where(and(eq(key_usage.key_id, quota.keyId), eq(key_usage.day, today)));
  return Math.max(0, quota.perDay - (usage?.rows ?? 0));
}

/** Throws a 429 unless that many rows are left, so that nothing is computed in vain. */
export async function assertRowsLeft(
  db: Pick<Database, 'select'>,
  quota: RowQuota | null,
  rows: number,
): Promise<void> {
  if (quota && (await findRowsLeft(db, quota)) < rows) throw dailyRowsExceeded(quota);
}

/** `stored`: what an import has stored of its rows. */
export function dailyRowsExceeded({ keyId, perDay }: RowQuota, stored?: string): AttuneError {
  const endsAtMs = (Math.floor(Date.now() / DAY_MS) + 1) * DAY_MS;
  return new AttuneError(
    `${stored ?? 'nothing was stored'}: ${keyId} may store ${perDay} rows a day; the day ends at ` +
      `${new Date(endsAtMs).toISOString()}, then send it again`,
    { status: 429, code: 'daily_rows_exceeded', retry: false, retryAfterMs: endsAtMs - Date.now() },
  );
}
