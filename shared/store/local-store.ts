// The policies of this machine, as folders, which is what ONNX Runtime and the trainer open. Alone it is the policy
// store; with a store elsewhere it is what was fetched of it, each package once, and what is published here goes there.

import { existsSync } from 'node:fs';
import { readdir, rename, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AttuneError } from '../error.ts';
import { readManifest, verifyFiles } from '../package/files.ts';
import type { Manifest } from '../package/manifest.ts';
import type { Settings } from '../settings.ts';
import { openRemoteStore } from './configured-store.ts';
import { uploadPackage, writePackageFolder } from './copy-package.ts';
import { openStaging } from './staging.ts';
import { isPolicyId, isStoreUnreachable, type PolicyStore, policyNotFoundError } from './store.ts';

export interface LocalStore {
  /** A folder on this machine with the whole, verified package. Throws AttuneError where it is missing or damaged. */
  folderOf(id: string): Promise<string>;
  /** An empty folder to make a package in; it becomes visible by `publish` and by nothing else. */
  createStaging(): Promise<string>;
  /** Makes the draft the package of this id, here and in the store, for good. Where it fails it can be repeated. */
  publish(draft: string, id: string): Promise<void>;
  discard(draft: string): Promise<void>;
  /** Removes copies of what a store elsewhere has, but for those in use and the few that were asked for last. */
  trim(inUse?: Iterable<string>): Promise<void>;
}

/** Where this machine keeps policies. */
export function policiesFolder({ ATTUNE_HOME }: Pick<Settings, 'ATTUNE_HOME'>): string {
  return path.join(ATTUNE_HOME, 'policies');
}

/** The shelf of these settings: with POLICY_STORE a part of that, otherwise the folder alone. */
export async function openLocalStore(settings: Settings): Promise<LocalStore> {
  return openLocalStoreAt(policiesFolder(settings), await openRemoteStore(settings), PATIENCE);
}

/** Milliseconds for which publishing waits for a store that is away: a round may have trained for hours. */
const PATIENCE = 600_000;
const PAUSE = 5000;
/** Copies that stay, besides those in use. */
const KEPT = 4;

/** `patience`: milliseconds for which publishing waits for a store that cannot be reached. */
export async function openLocalStoreAt(root: string, store?: PolicyStore, patience = 0): Promise<LocalStore> {
  /** Takes back what was sent of a draft that nobody will publish. */
  const withdraw = async (draft: string) => {
    const manifest = store && (await readManifest(draft).catch(() => null));
    if (manifest) await store.discard(manifest.id);
  };
  const drafts = await openStaging(root, withdraw);
  const sent = new Set<string>();
  const verified = new Set<string>();
  const sought = new Map<string, Promise<string>>();

  /** Files are checked as they come. Another process may have been faster; then theirs is as good. */
  async function fetchPackage(manifest: Manifest, from: PolicyStore): Promise<void> {
    const draft = await drafts.create();
    try {
      await writePackageFolder(draft, manifest, (file) => from.read(manifest.id, file));
      await drafts.commit(draft, manifest.id);
    } finally {
      await drafts.discard(draft);
    }
  }

  async function send(to: PolicyStore, draft: string): Promise<void> {
    for (const began = performance.now(); ; await sleep(PAUSE)) {
      try {
        return await uploadPackage(to, draft);
      } catch (error) {
        if (!isStoreUnreachable(error) || performance.now() - began + PAUSE > patience) throw error;
        console.error(`${error.message}; publishing tries again in ${PAUSE / 1000} s`);
      }
    }
  }

  async function trim(from: PolicyStore, inUse: Set<string>): Promise<void> {
    const copies = (await readdir(root)).filter((name) => isPolicyId(name) && !inUse.has(name));
    const used = new Map<string, number>();
    for (const id of copies) used.set(id, (await stat(path.join(root, id))).mtimeMs);
    const old = copies.sort((a, b) => used.get(b)! - used.get(a)!).slice(KEPT);
    for (const id of old) {
      // One that was published before there was a store is nowhere else.
      if (!(await from.manifest(id)) || sought.has(id)) continue;
      verified.delete(id);
      const grave = await drafts.create();
      await rename(path.join(root, id), grave);
      await drafts.discard(grave);
    }
  }

  async function find(id: string): Promise<string> {
    const folder = path.join(root, id);
    if (!isPolicyId(id)) throw policyNotFoundError(id, root);
    let damage: unknown;
    if (existsSync(folder)) {
      // The folder's own time says when it was asked for last.
      await utimes(folder, new Date(), new Date());
      if (verified.has(id)) return folder;
      try {
        await verifyFiles(folder, await readManifest(folder));
        verified.add(id);
        return folder;
      } catch (error) {
        if (!(store && error instanceof AttuneError)) throw error;
        damage = error;
      }
    }
    const manifest = await store?.manifest(id);
    if (!store || !manifest) throw damage ?? policyNotFoundError(id, store?.location ?? root);
    if (damage) {
      const grave = await drafts.create();
      await rename(folder, grave);
      await drafts.discard(grave);
    }
    await fetchPackage(manifest, store);
    verified.add(id);
    return folder;
  }

  return {
    folderOf(id) {
      const known = sought.get(id);
      if (known) return known;
      const search = find(id).finally(() => sought.delete(id));
      sought.set(id, search);
      return search;
    },
    createStaging: drafts.create,
    async publish(draft, id) {
      const taken = `internal: policy ${id} exists already; an id is never reused`;
      if (existsSync(path.join(root, id))) throw new Error(taken);
      if (store) {
        sent.add(draft);
        await send(store, draft);
        sent.delete(draft);
      }
      if (!(await drafts.commit(draft, id))) throw new Error(taken);
    },
    async discard(draft) {
      // Where the store cannot be reached, what was sent stays there, and nobody sees it.
      if (sent.delete(draft)) await withdraw(draft).catch(() => {});
      await drafts.discard(draft);
    },
    async trim(inUse = []) {
      if (store) await trim(store, new Set(inUse));
    },
  };
}
