// Whether servers will find a policy's package.

import { AttuneError } from '../shared/error.ts';
import type { Settings } from '../shared/settings.ts';
import { openRemoteStore } from '../shared/store/configured-store.ts';
import type { LocalStore } from '../shared/store/local-store.ts';

/** Throws if the package is missing or damaged, or if it is not in POLICY_STORE, which other servers read. */
export async function assertAvailable(localStore: LocalStore, settings: Settings, id: string): Promise<void> {
  await localStore.getFolder(id);
  const store = await openRemoteStore(settings);
  if (!store || (await store.manifest(id))) return;
  throw new AttuneError(
    `${id} is on this machine but not in ${store.location}, which other servers read; copy it with \`attune policies send ${id}\``,
  );
}
