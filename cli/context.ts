// Setup that the commands share: validated settings, and a Postgres that is migrated to this version.

import path from 'node:path';
import { type Connection, connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';
import { rejectOnSignal } from '../shared/process.ts';
import { readSettings, type Settings } from '../shared/settings.ts';
import { type LocalStore, openLocalStore } from '../shared/store/local-store.ts';

export type CommandContext = { settings: Settings; databaseUrl: string; close(): Promise<void> };

/** Migrates the Postgres of DATABASE_URL; without one, starts or joins the embedded server. */
export async function openContext(log: (line: string) => void = () => {}, env = process.env): Promise<CommandContext> {
  const settings = readSettings(env);
  let databaseUrl = settings.DATABASE_URL;
  let close = async () => {};
  if (!databaseUrl) {
    log(`postgres: starting the embedded server in ${path.join(settings.ATTUNE_HOME, 'postgres')}`);
    const server = await openPostgres(settings.ATTUNE_HOME);
    databaseUrl = server.url;
    close = server.leave;
  }
  try {
    await migrateDatabase(databaseUrl);
  } catch (error) {
    await close();
    throw error;
  }
  return { settings, databaseUrl, close };
}

/** Runs a command's work with a connection and the local policies, and closes both afterwards. */
export async function withContext<T>(
  work: (connection: Connection, localStore: LocalStore, context: CommandContext) => Promise<T>,
): Promise<T> {
  const context = await openContext();
  const connection = connect(context.databaseUrl, { name: 'attune command', max: 3 });
  try {
    const localStore = await openLocalStore(context.settings, connection.db);
    return await rejectOnSignal(work(connection, localStore, context));
  } finally {
    await connection.close();
    await context.close();
  }
}
