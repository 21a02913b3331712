// Session-level advisory locks, each on its own connection: Postgres releases the lock when that closes or its process dies.

import postgres, { type Sql } from 'postgres';

/** Lock keys, one for each operation that only one process may run at a time. */
export const LOCKS = { migrate: 288863, defaultPolicy: 288864, train: 288865 } as const;

export type Lock = {
  /** Aborted when the connection is lost, and with it the lock. */
  lost: AbortSignal;
  release(): Promise<void>;
};

/** Waits for the lock. */
export async function acquireLock(url: string, key: number): Promise<Lock> {
  const { sql, lock } = openLockConnection(url);
  await sql`select pg_advisory_lock(${key})`;
  return lock;
}

/** Returns null if another process holds the lock. */
export async function tryAcquireLock(url: string, key: number): Promise<Lock | null> {
  const { sql, lock } = openLockConnection(url);
  try {
    const [row] = await sql`select pg_try_advisory_lock(${key}) as held`;
    if (row?.held) return lock;
  } catch (error) {
    await lock.release();
    throw error;
  }
  await lock.release();
  return null;
}

function openLockConnection(url: string): { sql: Sql; lock: Lock } {
  const lost = new AbortController();
  let isReleased = false;
  const sql = postgres(url, {
    max: 1,
    // The driver would close the connection after its maximum lifetime and so release the lock.
    max_lifetime: null,
    // As in connect.ts: a connection that is lost while types are fetched would end the process.
    fetch_types: false,
    connect_timeout: 10,
    onnotice: () => {},
    onclose: () => isReleased || lost.abort(new Error('the connection that held the lock was lost')),
    connection: { application_name: 'attune lock' },
  });
  const release = () => {
    isReleased = true;
    return sql.end({ timeout: 1 });
  };
  return { sql, lock: { lost: lost.signal, release } };
}
