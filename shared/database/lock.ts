// Advisory locks, each on a connection of its own: a killed holder lets go of it by dying, and letting go is closing.

import postgres from 'postgres';

/** One number for each thing that only one process may do at a time in a database. */
export const LOCKS = { migrate: 288863, defaultPolicy: 288864, train: 288865 } as const;

export type Release = () => Promise<void>;

/** Waits for the lock. */
export async function acquireLock(url: string, key: number): Promise<Release> {
  const sql = open(url);
  await sql`select pg_advisory_lock(${key})`;
  return () => sql.end({ timeout: 1 });
}

/** Takes the lock, or returns null where another process has it. */
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

/** The driver closes connections of a certain age; with this one the lock would go too. */
function open(url: string) {
  return postgres(url, {
    max: 1,
    max_lifetime: null,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: 'attune lock' },
  });
}
