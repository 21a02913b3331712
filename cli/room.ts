// What every command needs first: the settings, and a Postgres whose tables are of this version.

import path from 'node:path';
import { type Connection, connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';
import { AttuneError } from '../shared/error.ts';
import { openFolderStore, type PolicyStore } from '../shared/policy/store.ts';
import { readSettings, type Settings } from '../shared/settings.ts';

export type Room = { settings: Settings; databaseUrl: string; leave(): Promise<void> };

/** Starts or joins the embedded Postgres unless DATABASE_URL names another, and migrates it. */
export async function openRoom(say: (line: string) => void = () => {}, env = process.env): Promise<Room> {
  const settings = readSettings(env);
  let databaseUrl = settings.DATABASE_URL;
  let leave = async () => {};
  if (!databaseUrl) {
    say(`postgres: starting the embedded server in ${path.join(settings.ATTUNE_HOME, 'postgres')}`);
    const server = await openPostgres(settings.ATTUNE_HOME);
    databaseUrl = server.url;
    leave = server.leave;
  }
  try {
    await migrateDatabase(databaseUrl);
  } catch (error) {
    await leave();
    throw error;
  }
  return { settings, databaseUrl, leave };
}

/** Runs one command's work with a connection and the policy store, and puts everything away after. */
export async function inRoom<T>(
  work: (connection: Connection, store: PolicyStore, room: Room) => Promise<T>,
): Promise<T> {
  const room = await openRoom();
  const connection = connect(room.databaseUrl, { name: 'attune command', max: 3 });
  try {
    const store = await openFolderStore(path.join(room.settings.ATTUNE_HOME, 'policies'));
    return await orStopped(work(connection, store, room));
  } finally {
    await connection.close();
    await room.leave();
  }
}

const IMPATIENCE = 1000;

/**
 * Resolves at the first signal to stop. A later one ends the process at once; but npm hands on a Ctrl-C that the
 * terminal has sent already, so what comes within a second is the same one.
 */
export function untilStopped(): Promise<string> {
  return new Promise((resolve) => {
    let first = 0;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (first === 0) {
          first = performance.now();
          resolve(signal);
        } else if (performance.now() - first > IMPATIENCE) process.exit(130);
      });
    }
  });
}

/** The work's result, or an error at the first signal, so that what was started is put away. */
export function orStopped<T>(work: Promise<T>): Promise<T> {
  const stopped = untilStopped().then((signal): never => {
    throw new AttuneError(`stopped (${signal})`);
  });
  return Promise.race([work, stopped]);
}
