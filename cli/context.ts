// Setup that the commands share: validated settings, and a Postgres that is migrated to this version.

import path from 'node:path';
import { type Connection, connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';
import { rejectOnSignal } from '../shared/process.ts';
import { readSettings, type Settings } from '../shared/settings.ts';
import { type LocalStore, openLocalStore } from '../shared/store/local-store.ts';

type OpenDatabase = { databaseUrl: string; close(): Promise<void> };

export type CommandContext = OpenDatabase & { settings: Settings };

/** The Postgres of DATABASE_URL; without one, starts or joins the embedded server. */
export async function openDatabase(
  { DATABASE_URL, ATTUNE_HOME }: Settings,
  log: (line: string) => void = () => {},
): Promise<OpenDatabase> {
  if (DATABASE_URL) return { databaseUrl: DATABASE_URL, close: async () => {} };
  log(`postgres: starting the embedded server in ${path.join(ATTUNE_HOME, 'postgres')}`);
  const server = await openPostgres(ATTUNE_HOME);
  return { databaseUrl: server.url, close: server.leave };
}

/** The database, migrated to this version. */
export async function openContext(log?: (line: string) => void, env = process.env): Promise<CommandContext> {
  const settings = readSettings(env);
  const database = await openDatabase(settings, log);
  try {
    await migrateDatabase(database.databaseUrl);
  } catch (error) {
    await database.close();
    throw error;
  }
  return { settings, ...database };
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
