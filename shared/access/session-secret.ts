// The secret that signs sessions, the same for all processes of a database, and Postgres's clock, which they end by.
import { eq, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { secrets } from '../database/schema.ts';

export type SessionSecret = { value: string; now: Date };

export async function readSessionSecret(db: Pick<Database, 'select'>): Promise<SessionSecret> {
  const [row] = await db
    .select({ value: secrets.value, now: sql`now()`.mapWith(secrets.created_at) })
    .from(secrets)
    .where(eq(secrets.name, 'session'));
  if (!row) throw new Error('internal: the table secrets has no row "session"');
  return row as SessionSecret;
}
