// Builds the addon of tfjs-node-gpu against the C library of a current TensorFlow. The package's own installer fetches a
// library of 2022 for CUDA 11; the current one, for current GPUs, is in the wheels of the Python package index.
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { AttuneError } from '../../../../shared/error.ts';
import { isProcessAlive } from '../../../../shared/process.ts';
import { type Addon, type AddonKind, addonFile, placeOfAddon, probeAddon, VERSIONS } from './addon.ts';
import { buildAddon } from './build.ts';
import { findTools } from './build-tools.ts';
import { downloadWheels, unpackWheels } from './wheels.ts';

type Say = (line: string) => void;

const GIB = 2 ** 30;
/** What is downloaded, and the room that installing takes at its height. */
const SIZES: Record<AddonKind, { download: string; room: number }> = {
  cpu: { download: '274 MB', room: 1.5 * GIB },
  gpu: { download: '572 MB, then CUDA with some 2 GB', room: 10 * GIB },
};

/** Installs unless it is installed. One process at a time; another one waits and finds what the first has made. */
export async function installAddon(kind: AddonKind, say: Say, env = process.env): Promise<Addon> {
  const addon = placeOfAddon(kind, env);
  if (existsSync(addon.file)) return addon;
  const cache = path.dirname(addon.folder);
  await mkdir(cache, { recursive: true });
  const unlock = await lock(`${addon.folder}.lock`, say);
  try {
    if (!existsSync(addon.file)) await make(addon, say);
  } finally {
    await unlock();
  }
  return addon;
}

/** In a draft beside the addon's folder, which gets its name when it is whole. What was downloaded outlives a failure. */
async function make({ kind, folder }: Addon, say: Say): Promise<void> {
  const started = performance.now();
  const step = (what: string) =>
    say(`${String(Math.round((performance.now() - started) / 1000)).padStart(3)} s  ${what}`);
  const tools = await findTools();
  await checkRoom(path.dirname(folder), SIZES[kind].room);
  const draft = `${folder}.draft`;
  const wheels = path.join(draft, 'wheels');
  await mkdir(wheels, { recursive: true });

  step(`downloading TensorFlow ${VERSIONS.tensorflow} with pip (${SIZES[kind].download})`);
  await downloadWheels(tools.python, kind, wheels);
  step('unpacking its libraries and headers');
  await unpackWheels(tools.python, wheels, path.join(draft, 'deps'));
  step(`building the addon of tfjs-node-gpu ${VERSIONS.tfjs}`);
  await buildAddon(tools, draft, addonFile(draft));
  step('trying it');
  const seen = await probeAddon(addonFile(draft));
  await rm(wheels, { recursive: true });
  await rename(draft, folder);
  step(`installed TensorFlow ${seen.version}, which sees ${seen.gpu ? 'a GPU' : 'no GPU'}, in ${folder}`);
}

async function checkRoom(folder: string, room: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < room)
    throw new AttuneError(
      `tensorflow: ${folder} has ${(free / GIB).toFixed(1)} GiB free, and installing takes ${room / GIB} GiB; make room, or set XDG_CACHE_HOME to a larger place`,
      { code: 'no_room' },
    );
}

/** A file that names the process which installs. That of a process which is no more is taken over. */
async function lock(file: string, say: Say): Promise<() => Promise<void>> {
  for (let waited = false; ; ) {
    try {
      const handle = await open(file, 'wx');
      await handle.writeFile(String(process.pid));
      await handle.close();
      return () => rm(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = Number(await readFile(file, 'utf8').catch(() => ''));
    if (holder && !isProcessAlive(holder)) await rm(file, { force: true });
    else if (!waited) {
      waited = true;
      say(`process ${holder} is installing it; waiting`);
    }
    await wait(500);
  }
}
