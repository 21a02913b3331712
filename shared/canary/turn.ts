// Of any number of processes that would decide about canaries one does at a time, and at most every other second: a turn is a row
// that one conditional statement takes. A process that ends in its turn leaves it to the next one when its time is over.

import { sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { heartbeats } from '../database/schema.ts';

/** Below the interval in which each process asks, so that the next turn is its own where it is the only one. */
const TURN_SECONDS = 1.5;
const MAX_PAUSE_SECONDS = 600;
/** The part of the time in which the votes and minutes of a deployment with very many of them are read. */
export const READING_SHARE = 1 / 20;

/** Runs `work` if it is this process's turn; null: it is not. */
export async function runInTurn<T>(db: Database, work: () => Promise<T>): Promise<T | null> {
  if (!(await takeTurn(db))) return null;
  const startedMs = performance.now();
  const result = await work();
  const seconds = (performance.now() - startedMs) / 1000;
  const pause = Math.min(seconds / READING_SHARE - seconds, MAX_PAUSE_SECONDS);
  if (pause > TURN_SECONDS)
    await db.execute(sql`update ${heartbeats} set seen_at = clock_timestamp() + make_interval(secs => ${pause - TURN_SECONDS})
      where name = 'canary'`);
  return result;
}

async function takeTurn(db: Database): Promise<boolean> {
  const taken = await db.execute(sql`
    insert into ${heartbeats} as last (name, seen_at) values ('canary', clock_timestamp())
    on conflict (name) do update set seen_at = excluded.seen_at
    where last.seen_at < excluded.seen_at - make_interval(secs => ${TURN_SECONDS})
      -- by the clock of another server, before a failover
      or last.seen_at > excluded.seen_at + make_interval(secs => ${MAX_PAUSE_SECONDS}) returning 1`);
  return taken.length > 0;
}
