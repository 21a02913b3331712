// The NOTIFY channel on which processes announce new rows to each other. A notification can be lost, so every
// subscriber polls as well (subscribe.ts).

import { sql } from 'drizzle-orm';
import type { Database } from './connect.ts';

/** Policies activated, rounds queued or advanced, webhook events written. The payload is the id of the row. */
export const CHANGES = 'attune_changes';

/** Wakes the subscribers; inside a transaction, when it commits. */
export async function notifyChange(db: Database, id: string): Promise<void> {
  await db.execute(sql`select pg_notify(${CHANGES}, ${id})`);
}
