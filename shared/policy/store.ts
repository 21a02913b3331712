// Where policy packages are kept: one folder for each, made elsewhere and renamed into place when whole, never changed
// after. A killed writer leaves a draft that the next one removes.

import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { AttuneError } from '../error.ts';
import { isAlive } from '../liveness.ts';
import { readManifest, verifyFiles } from './manifest.ts';

export interface PolicyStore {
  /** A folder on this machine with the whole, verified package. Throws AttuneError where it is missing or damaged. */
  folderOf(id: string): Promise<string>;
  /** An empty folder to make a package in; it becomes visible by `publish` and by nothing else. */
  draft(): Promise<string>;
  /** Makes the draft the package of this id, for good. */
  publish(draft: string, id: string): Promise<void>;
  discard(draft: string): Promise<void>;
}

export async function openFolderStore(root: string): Promise<PolicyStore> {
  await mkdir(root, { recursive: true });
  await removeDeadDrafts(root);
  const verified = new Set<string>();
  let drafts = 0;
  return {
    async folderOf(id) {
      const folder = path.join(root, id);
      if (!/^pol_[0-9a-f]{32}$/.test(id) || !existsSync(folder))
        throw new AttuneError(`policy ${id}: its package is not in ${root}`, {
          status: 404,
          param: 'model',
          code: 'model_not_found',
        });
      if (!verified.has(id)) {
        await verifyFiles(folder, await readManifest(folder));
        verified.add(id);
      }
      return folder;
    },
    async draft() {
      const folder = path.join(root, `.draft-${process.pid}-${Date.now()}-${drafts++}`);
      await mkdir(folder);
      return folder;
    },
    async publish(draft, id) {
      const target = path.join(root, id);
      if (existsSync(target)) throw new Error(`internal: policy ${id} exists already; an id is never reused`);
      await syncFolder(draft);
      await rename(draft, target);
      await syncFolder(root);
    },
    discard: (draft) => rm(draft, { recursive: true, force: true }),
  };
}

/** Makes names durable, as fsync of a file makes its bytes. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  await handle.sync();
  await handle.close();
}

async function removeDeadDrafts(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    const pid = /^\.draft-(\d+)-/.exec(name)?.[1];
    if (pid && !isAlive(Number(pid))) await rm(path.join(root, name), { recursive: true, force: true });
  }
}
