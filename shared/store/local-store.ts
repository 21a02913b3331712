// The policies of this machine as folders, which ONNX Runtime and the trainer open. Without a remote store it is the policy
// store; with one it is a cache of it, and publishing writes to both.

import { existsSync } from 'node:fs';
import { readdir, rename, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/connect.ts';
import { hashContent } from '../digest.ts';
import { AttuneError } from '../error.ts';
import { log } from '../log.ts';
import { readManifest, verifyFiles } from '../package/files.ts';
import { damagedPolicy, MANIFEST_FILE, type Manifest } from '../package/manifest.ts';
import { listFilesOf, type PackageUse } from '../package/package-use.ts';
import type { Settings } from '../settings.ts';
import { openRemoteStore } from './configured-store.ts';
import { uploadPackage, writePackageFolder } from './copy-package.ts';
import { getManifest } from './registry.ts';
import { openStaging } from './staging.ts';
import { isPackageId, isStoreUnreachable, missingPackage, type PolicyStore } from './store.ts';

export interface LocalStore {
  /**
   * The folder of the package, downloaded if need be, with the files of this use verified (default: all). Throws AttuneError if
   * it is missing, damaged or replaced.
   */
  getFolder(id: string, use?: PackageUse): Promise<string>;
  /** An empty folder to build a package in, invisible until `publish`. */
  createStaging(): Promise<string>;
  /**
   * Publishes the staging folder under this id, here and in the remote store. A failed call can be repeated. What
   * `throwIfStopped` throws ends it, as a failure.
   */
  publish(staging: string, id: string, throwIfStopped?: () => void): Promise<void>;
  discardStaging(staging: string): Promise<void>;
  /** Removes copies of remote packages, except those in use and the few used last. */
  trim(inUse?: Iterable<string>): Promise<void>;
}

/** Publishing retries an unreachable remote store this long: a round may have trained for hours. */
const PUBLISH_TIMEOUT_MS = 600_000;
const RETRY_INTERVAL_MS = 5000;
/** Copies that `trim` keeps besides those in use. */
const MAX_UNUSED_COPIES = 4;

/** The folder of this machine's policies. */
export function policiesFolder({ ATTUNE_HOME }: Pick<Settings, 'ATTUNE_HOME'>): string {
  return path.join(ATTUNE_HOME, 'policies');
}

/** The local store of these settings, in front of POLICY_STORE if that is set, for the policies in Postgres. */
export async function openLocalStore(settings: Settings, db: Database): Promise<LocalStore> {
  return openLocalStoreAt(policiesFolder(settings), await openRemoteStore(settings), {
    publishTimeoutMs: PUBLISH_TIMEOUT_MS,
    getPublished: (id) => getManifest(db, id),
  });
}

type LocalStoreOptions = {
  /** How long publishing retries an unreachable remote store; default: no retry. */
  publishTimeoutMs?: number;
  /** The manifest that a policy was published with: a package with another one was replaced. Default: no check. */
  getPublished?(id: string): Promise<Manifest>;
};

export async function openLocalStoreAt(
  root: string,
  remote?: PolicyStore,
  { publishTimeoutMs = 0, getPublished }: LocalStoreOptions = {},
): Promise<LocalStore> {
  /** Removes what was uploaded of a package that will not be published. */
  const removeUpload = async (folder: string) => {
    const manifest = remote && (await readManifest(folder).catch(() => null));
    if (manifest) await remote.discard(manifest.id);
  };
  const staging = await openStaging(root, removeUpload);
  /** Staging folders whose upload began and did not finish. */
  const uploading = new Set<string>();
  /** The files of each package that were verified. */
  const verified = new Map<string, Set<string>>();
  const resolving = new Map<string, Promise<string>>();

  /** Verifies files while they are downloaded. If another process was faster, its copy is used. */
  async function download(manifest: Manifest, from: PolicyStore): Promise<void> {
    const folder = await staging.create();
    try {
      await writePackageFolder(folder, manifest, (file) => from.read(manifest.id, file));
      await staging.commit(folder, manifest.id);
    } finally {
      await staging.discard(folder);
    }
  }

  async function upload(to: PolicyStore, folder: string, throwIfStopped?: () => void): Promise<void> {
    for (const startMs = performance.now(); ; await sleep(RETRY_INTERVAL_MS)) {
      try {
        return await uploadPackage(to, folder, throwIfStopped);
      } catch (error) {
        const isLast = performance.now() - startMs + RETRY_INTERVAL_MS > publishTimeoutMs;
        if (!isStoreUnreachable(error) || isLast) throw error;
        log.warn('store', `${error.message}; publishing is retried in ${RETRY_INTERVAL_MS / 1000} s`);
      }
    }
  }

  /** The rename keeps other processes from reading a folder that is half removed. */
  async function removeFolder(folder: string): Promise<void> {
    const target = await staging.create();
    await rename(folder, target);
    await staging.discard(target);
  }

  async function removeUnused(from: PolicyStore, inUse: Set<string>): Promise<void> {
    const copies = (await readdir(root)).filter((name) => isPackageId(name) && !inUse.has(name));
    const usedAt = new Map<string, number>();
    for (const id of copies) usedAt.set(id, (await stat(path.join(root, id))).mtimeMs);
    for (const id of copies.sort((a, b) => usedAt.get(b)! - usedAt.get(a)!).slice(MAX_UNUSED_COPIES)) {
      // A package that was published before POLICY_STORE was set exists only here.
      if (!(await from.manifest(id)) || resolving.has(id)) continue;
      verified.delete(id);
      await removeFolder(path.join(root, id));
    }
  }

  /** Each file is verified once. */
  async function verify(folder: string, manifest: Manifest, use: PackageUse): Promise<void> {
    const known = verified.get(manifest.id) ?? new Set();
    const names = listFilesOf(use, manifest).filter((name) => !known.has(name));
    if (names.length > 0) await verifyFiles(folder, manifest, names);
    verified.set(manifest.id, known.union(new Set(names)));
  }

  async function resolve(id: string, use: PackageUse): Promise<string> {
    const folder = path.join(root, id);
    if (!isPackageId(id)) throw missingPackage(id, root);
    const published = await getPublished?.(id);
    let damage: unknown;
    if (existsSync(folder)) {
      // The folder's modification time records its last use, across processes.
      await utimes(folder, new Date(), new Date());
      try {
        const manifest = await readManifest(folder);
        if (published) assertPublished(manifest, published);
        await verify(folder, manifest, use);
        return folder;
      } catch (error) {
        if (!(remote && error instanceof AttuneError)) throw error;
        damage = error;
      }
    }
    const manifest = await remote?.manifest(id);
    if (!remote || !manifest) throw damage ?? missingPackage(id, remote?.location ?? root);
    if (published) assertPublished(manifest, published);
    if (damage) await removeFolder(folder);
    await download(manifest, remote);
    verified.set(id, new Set(Object.keys(manifest.files)));
    return folder;
  }

  return {
    getFolder(id, use = 'all') {
      // One after the other: two uses must not download a package twice.
      const before = resolving.get(id)?.catch(() => {}) ?? Promise.resolve();
      const folder = before
        .then(() => resolve(id, use))
        .finally(() => {
          if (resolving.get(id) === folder) resolving.delete(id);
        });
      resolving.set(id, folder);
      return folder;
    },
    createStaging: staging.create,
    async publish(folder, id, throwIfStopped) {
      const exists = `internal: policy ${id} exists already; an id is never reused`;
      if (existsSync(path.join(root, id))) throw new Error(exists);
      if (remote) {
        uploading.add(folder);
        await upload(remote, folder, throwIfStopped);
        uploading.delete(folder);
      }
      if (!(await staging.commit(folder, id))) throw new Error(exists);
    },
    async discardStaging(folder) {
      // If the remote store is unreachable the upload stays there, invisible.
      if (uploading.delete(folder)) await removeUpload(folder).catch(() => {});
      await staging.discard(folder);
    },
    async trim(inUse = []) {
      if (remote) await removeUnused(remote, new Set(inUse));
    },
  };
}

/** Its files match its policy.json; Postgres knows whether that is the one which was published. */
function assertPublished(manifest: Manifest, published: Manifest): void {
  if (hashContent(manifest) === hashContent(published)) return;
  const fields = Object.keys({ ...manifest, ...published }) as (keyof Manifest)[];
  const changed = fields.filter((field) => hashContent(manifest[field]) !== hashContent(published[field]));
  throw damagedPolicy(published.id, `its ${MANIFEST_FILE} differs from the one in Postgres (${changed.join(', ')})`);
}
