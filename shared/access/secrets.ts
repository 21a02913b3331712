// Random texts that every process of a deployment shares, because they are in its database (migration 0013 inserts them).

import { eq, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { secrets } from '../database/schema.ts';
import { AttuneError } from '../error.ts';

export type SecretName = typeof secrets.$inferSelect.name;

/** `now`: Postgres's clock, by which what is signed with it ends. */
export type Secret = { value: string; now: Date };

export async function readSecret(db: Pick<Database, 'select'>, name: SecretName): Promise<Secret> {
  const now = sql`now()`.mapWith(secrets.created_at);
  const [row] = await db.select({ value: secrets.value, now }).from(secrets).where(eq(secrets.name, name));
  if (!row)
    throw new AttuneError(`secrets: the row ${name} is missing; restore the table from a backup`, {
      status: 500,
      code: 'secret_missing',
    });
  return row as Secret;
}
