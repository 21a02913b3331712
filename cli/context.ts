// What every command needs first: the settings, and a Postgres whose tables are of this version.

import path from 'node:path';
import { type Connection, connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';
import { rejectOnSignal } from '../shared/process.ts';
import { readSettings, type Settings } from '../shared/settings.ts';
import { type LocalStore, openLocalStore } from '../shared/store/local-store.ts';

export type CommandContext = { settings: Settings; databaseUrl: string; close(): Promise<void> };

/** Starts or joins the embedded Postgres unless DATABASE_URL names another, and migrates it. */
export async function openContext(say: (line: string) => void = () => {}, env = process.env): Promise<CommandContext> {
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
  return { settings, databaseUrl, close: leave };
}

/** Runs one command's work with a connection and the policies, and puts everything away after. */
export async function withContext<T>(
  work: (connection: Connection, shelf: LocalStore, room: CommandContext) => Promise<T>,
): Promise<T> {
  const room = await openContext();
  const connection = connect(room.databaseUrl, { name: 'attune command', max: 3 });
  try {
    const shelf = await openLocalStore(room.settings);
    return await rejectOnSignal(work(connection, shelf, room));
  } finally {
    await connection.close();
    await room.close();
  }
}
