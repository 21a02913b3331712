// Says once a minute that a trainer is there, so that one that is missed can be told from one that has nothing to do
// (shared/webhooks/alerts.ts). By Postgres's clock, as whoever asks.

import { sql } from 'drizzle-orm';
import type { Database } from '../shared/database/connect.ts';
import { heartbeats } from '../shared/database/schema.ts';

const INTERVAL_MS = 60_000;

export function startHeartbeat(db: Database): { stop(): void } {
  const beat = () => {
    const set = { seen_at: sql`now()` };
    const values = { name: 'trainer' as const, seen_at: sql`now()` };
    // If Postgres cannot be reached, the next one may be.
    db.insert(heartbeats)
      .values(values)
      .onConflictDoUpdate({ target: heartbeats.name, set })
      .catch(() => {});
  };
  beat();
  const timer = setInterval(beat, INTERVAL_MS).unref();
  return { stop: () => clearInterval(timer) };
}
