// The API as `attune serve` runs it, on the benchmark's ATTUNE_HOME, until the parent process exits.
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { startEdge } from '../../../edge/node.ts';
import { connect } from '../../../shared/database/connect.ts';
import { openPostgres } from '../../../shared/database/embedded.ts';
import { migrateDatabase } from '../../../shared/database/migrate.ts';
import { readManifest } from '../../../shared/package/files.ts';
import { readSettings } from '../../../shared/settings.ts';
import { policiesFolder } from '../../../shared/store/local-store.ts';
import { activatePolicy, getActivePolicyId, registerPolicy } from '../../../shared/store/registry.ts';

const parentExited = new Promise<void>((resolve) => {
  process.once('disconnect', resolve);
  if (!process.connected) resolve();
});
const settings = readSettings(process.env);
const postgres = await openPostgres(settings.ATTUNE_HOME);
try {
  await migrateDatabase(postgres.url);
  await ensureActive(postgres.url, policiesFolder(settings));
  const edge = await startEdge(settings, postgres.url);
  if (process.connected) process.send!({ url: edge.url });
  await parentExited;
  await edge.close();
} finally {
  await postgres.leave();
}
process.exit(0);

/** The benchmark's home has a policy folder, but its database has no policies yet. */
async function ensureActive(url: string, policies: string): Promise<void> {
  const { db, close } = connect(url, { name: 'attune bench', max: 1 });
  const id = (await readdir(policies)).find((name) => name.startsWith('pol_'))!;
  if ((await getActivePolicyId(db)) !== id) {
    const manifest = await readManifest(path.join(policies, id));
    await registerPolicy(db, { id, name: manifest.name, manifest });
    await activatePolicy(db, id, 'bench');
  }
  await close();
}
