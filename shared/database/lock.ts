// Session-level advisory locks, each on its own connection: Postgres releases the lock when that closes or its process dies.

import postgres from 'postgres';

/** Lock keys, one for each operation that only one process may run at a time. */
export const LOCKS = { migrate: 288863, defaultPolicy: 288864, train: 288865 } as const;

export type Release = () => Promise<void>;

/** Waits for the lock; returns its release. */
export async function acquireLock(url: string, key: number): Promise<Release> {
  const sql = open(url);
  await sql`select pg_advisory_lock(${key})`;
  return () => sql.end({ timeout: 1 });
}

/** Returns null if another process holds the lock. */
export async function tryAcquireLock(url: string, key: number): Promise<Release | null> {
  const sql = open(url);
  try {
    const [row] = await sql`select pg_try_advisory_lock(${key}) as held`;
    if (row?.held) return () => sql.end({ timeout: 1 });
  } catch (error) {
    await sql.end({ timeout: 1 });
    throw error;
  }
  await sql.end({ timeout: 1 });
  return null;
}

/** Without a maximum lifetime, at which the driver would close the connection and release the lock. */
function open(url: string) {
  return postgres(url, {
    max: 1,
    max_lifetime: null,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: 'attune lock' },
  });
}
