// What bench:data measures: the API on an embedded Postgres with a filled database, in a temporary folder.

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startEdge } from '../../edge/node.ts';
import { type Connection, connect } from '../../shared/database/connect.ts';
import { openPostgres } from '../../shared/database/embedded.ts';
import { migrateDatabase } from '../../shared/database/migrate.ts';
import { importPolicy } from '../../shared/publish/publish.ts';
import { readSettings, type Settings } from '../../shared/settings.ts';
import { type LocalStore, openLocalStore } from '../../shared/store/local-store.ts';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { openProgress } from '../report/progress.ts';
import { fillDatabase } from './data-fill.ts';

export type DataSystem = {
  url: string;
  settings: Settings;
  store: LocalStore;
  connection: Connection;
  policyId: string;
};

/** Runs `use` with a database of so many preferences, and comparisons for so many votes. */
export async function withFilledDatabase<T>(
  { rows, votes }: { rows: number; votes: number },
  log: (line: string) => void,
  use: (system: DataSystem) => Promise<T>,
): Promise<T> {
  const home = await mkdtemp(path.join(tmpdir(), 'attune-bench-'));
  // Postgres does not run as root and must be able to enter it.
  await chmod(home, 0o755);
  const settings = readSettings({ ATTUNE_HOME: home, PORT: '0' });
  const postgres = await openPostgres(home);
  const connection = connect(postgres.url, { name: 'attune bench', max: 4 });
  try {
    await migrateDatabase(postgres.url);
    const store = await openLocalStore(settings, connection.db);
    const folder = await store.createStaging();
    await writeTinyCheckpoint(folder, { seed: 1 });
    const policyId = await importPolicy(connection.db, store, folder, 'bench');
    await store.discardStaging(folder);
    const progress = openProgress('filling', 'preferences', rows, log);
    await fillDatabase(connection, { rows, votes, policyId, progress });
    progress.stop();
    const edge = await startEdge(settings, postgres.url);
    try {
      return await use({ url: edge.url, settings, store, connection, policyId });
    } finally {
      await edge.close();
    }
  } finally {
    await connection.close();
    await postgres.leave();
    await rm(home, { recursive: true, force: true });
  }
}
