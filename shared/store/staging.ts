// Staging folders, filled under a hidden name and renamed into place when complete. Those of a killed process are removed
// when the root is next opened.

import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fsyncPath, fsyncTree } from '../package/files.ts';
import { isProcessAlive } from '../process.ts';

export type Staging = {
  /** Creates an empty staging folder. */
  create(): Promise<string>;
  /** Renames it into place, durably. Returns false if the name is taken. */
  commit(folder: string, name: string): Promise<boolean>;
  discard(folder: string): Promise<void>;
};

const CLEANUP_TIMEOUT_MS = 5000;
const DAY_MS = 86_400_000;
let created = 0;

/** `onAbandoned` is called for each folder that a dead process left, before it is removed; if it throws, the folder stays. */
export async function openStaging(root: string, onAbandoned?: (folder: string) => Promise<void>): Promise<Staging> {
  await mkdir(root, { recursive: true });
  // A slow cleanup must not block startup: the next start retries it.
  await Promise.race([removeAbandoned(root, onAbandoned), sleep(CLEANUP_TIMEOUT_MS, undefined, { ref: false })]);
  return {
    async create() {
      const folder = path.join(root, `.staging-${hostname()}-${process.pid}-${Date.now()}-${created++}`);
      await mkdir(folder);
      return folder;
    },
    async commit(folder, name) {
      await fsyncTree(folder);
      try {
        await rename(folder, path.join(root, name));
      } catch (error) {
        if (['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
        throw error;
      }
      await fsyncPath(root);
      return true;
    },
    discard: (folder) => rm(folder, { recursive: true, force: true }),
  };
}

async function removeAbandoned(root: string, onAbandoned?: (folder: string) => Promise<void>): Promise<void> {
  for (const name of await readdir(root)) {
    if (!isAbandoned(name)) continue;
    const folder = path.join(root, name);
    try {
      await onAbandoned?.(folder);
    } catch {
      continue;
    }
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Whether the process that created the folder has ended. One of another host that shares the root counts as dead after a
 * day, since it cannot be checked. A container's process always has the same id, so a folder with this id from before
 * this process started is its predecessor's. Earlier versions named the folders `.draft-…`.
 */
function isAbandoned(name: string): boolean {
  const [, host, pid, createdAt] = /^\.(?:staging|draft)-(.+)-(\d+)-(\d+)-\d+$/.exec(name) ?? [];
  if (host === undefined) return false;
  if (host !== hostname()) return Date.now() - Number(createdAt) > DAY_MS;
  if (Number(pid) === process.pid) return Number(createdAt) < performance.timeOrigin;
  return !isProcessAlive(Number(pid));
}
