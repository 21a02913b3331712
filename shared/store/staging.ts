// Folders that are made elsewhere and renamed into place when whole. A killed process leaves its drafts behind; whoever
// opens the root next removes them.

import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fsyncPath, fsyncTree } from '../package/files.ts';
import { isProcessAlive } from '../process.ts';

export type Staging = {
  /** An empty folder that nobody takes for a whole one. */
  create(): Promise<string>;
  /** Gives the draft its name, for good. False where the name is taken. */
  commit(draft: string, name: string): Promise<boolean>;
  discard(draft: string): Promise<void>;
};

let made = 0;

/** `bury` is told of each draft that a dead process left, before it is removed; where it throws, the draft stays. */
export async function openStaging(root: string, bury?: (draft: string) => Promise<void>): Promise<Staging> {
  await mkdir(root, { recursive: true });
  // Where what buries them is silent nobody waits for it: the next to open the root tries again.
  await Promise.race([removeDead(root, bury), sleep(PATIENCE, undefined, { ref: false })]);
  return {
    async create() {
      const draft = path.join(root, `.draft-${hostname()}-${process.pid}-${Date.now()}-${made++}`);
      await mkdir(draft);
      return draft;
    },
    async commit(draft, name) {
      await fsyncTree(draft);
      try {
        await rename(draft, path.join(root, name));
      } catch (error) {
        if (['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
        throw error;
      }
      await fsyncPath(root);
      return true;
    },
    discard: (draft) => rm(draft, { recursive: true, force: true }),
  };
}

const PATIENCE = 5000;
const DAY = 86_400_000;

async function removeDead(root: string, bury?: (draft: string) => Promise<void>): Promise<void> {
  for (const name of await readdir(root)) {
    if (!isDead(name)) continue;
    const draft = path.join(root, name);
    try {
      await bury?.(draft);
    } catch {
      continue;
    }
    await rm(draft, { recursive: true, force: true });
  }
}

/**
 * Whether its process has ended: one of another machine that shares the folder after a day, as nobody can ask for it; a
 * container's is always the same number, so a draft with ours from before we began is that of our predecessor.
 */
function isDead(name: string): boolean {
  const [, host, pid, began] = /^\.draft-(.+)-(\d+)-(\d+)-\d+$/.exec(name) ?? [];
  if (host === undefined) return false;
  if (host !== hostname()) return Date.now() - Number(began) > DAY;
  if (Number(pid) === process.pid) return Number(began) < performance.timeOrigin;
  return !isProcessAlive(Number(pid));
}
