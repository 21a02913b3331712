// Part e: the disk of Postgres and the policies is full for some seconds. It is a small file system in memory, which only
// root can mount.

import { spawnSync } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { withLoad } from './outage.ts';
import type { Report } from './report.ts';

/** Room for an empty database, its log and two policies. */
const SIZE = '200m';
const FULL_MS = 6000;
const CHUNK = Buffer.alloc(2 ** 20);

export async function runDiskFull(report: Report): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-disk-'));
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'tmpfs', folder], { encoding: 'utf8' });
  if (mount.status !== 0) {
    await rm(folder, { recursive: true });
    const reason = mount.error?.message ?? mount.stderr.trim();
    return report.skip(`full disk: mount -t tmpfs needs root (${reason})`);
  }
  try {
    await withLoad(report, 'the disk is full', { parent: folder }, async () => {
      const filler = path.join(folder, 'filler');
      await fillDisk(filler);
      await sleep(FULL_MS);
      await rm(filler);
    });
  } finally {
    // Lazily: a process that is ending may still have a file open.
    spawnSync('umount', ['--lazy', folder]);
    await rm(folder, { recursive: true });
  }
}

/** Writes until nothing more fits. */
async function fillDisk(file: string): Promise<void> {
  const handle = await open(file, 'w');
  try {
    for (let bytes = CHUNK.length; bytes >= 512; ) {
      const { bytesWritten } = await handle.write(CHUNK, 0, bytes).catch(() => ({ bytesWritten: 0 }));
      if (bytesWritten < bytes) bytes /= 2;
    }
  } finally {
    await handle.close();
  }
}
