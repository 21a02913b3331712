// Builds the addon of tfjs-node-gpu against the C library of a current TensorFlow, taken from the wheels of the Python
// package index. The package's own installer downloads a library of 2022 for CUDA 11, which does not support current
// GPUs.
import { existsSync } from 'node:fs';
import { cp, mkdir, open, readFile, rename, rm, statfs, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AttuneError } from '../../../../shared/error.ts';
import { isProcessAlive } from '../../../../shared/process.ts';
import { type Addon, type AddonKind, addonFile, addonLocation, probeAddon, VERSIONS } from './addon.ts';
import { findTools, run, type Tools } from './build-tools.ts';
import { downloadWheels, LIBRARIES, unpackWheels } from './wheels.ts';

const require = createRequire(import.meta.url);

type Log = (line: string) => void;

const GIB = 2 ** 30;
const LOCK_POLL_INTERVAL_MS = 500;
/** The size of the download, and the disk space that installing takes at its peak. */
const SIZES: Record<AddonKind, { download: string; diskBytes: number }> = {
  cpu: { download: '274 MB', diskBytes: 1.5 * GIB },
  gpu: { download: '572 MB, then about 2 GB of CUDA', diskBytes: 10 * GIB },
};

/** Installs the addon if it is missing. One process at a time; others wait and use its result. */
export async function installAddon(kind: AddonKind, log: Log, env = process.env): Promise<Addon> {
  const addon = addonLocation(kind, env);
  if (existsSync(addon.file)) return addon;
  const cache = path.dirname(addon.folder);
  await mkdir(cache, { recursive: true });
  const unlock = await lock(`${addon.folder}.lock`, log);
  try {
    if (!existsSync(addon.file)) await buildStaged(addon, log);
  } finally {
    await unlock();
  }
  return addon;
}

/** Builds in a staging folder, which is renamed when it is complete. Downloads survive a failure. */
async function buildStaged({ kind, folder }: Addon, log: Log): Promise<void> {
  const startMs = performance.now();
  const logStep = (text: string) =>
    log(`${String(Math.round((performance.now() - startMs) / 1000)).padStart(3)} s  ${text}`);
  const tools = await findTools();
  await assertDiskSpace(path.dirname(folder), SIZES[kind].diskBytes);
  const staging = `${folder}.staging`;
  const wheels = path.join(staging, 'wheels');
  await mkdir(wheels, { recursive: true });

  logStep(`downloading TensorFlow ${VERSIONS.tensorflow} with pip (${SIZES[kind].download})`);
  await downloadWheels(tools.python, kind, wheels);
  logStep('unpacking its libraries and headers');
  await unpackWheels(tools.python, wheels, path.join(staging, 'deps'));
  logStep(`building the addon of tfjs-node-gpu ${VERSIONS.tfjs}`);
  await buildAddon(tools, staging, addonFile(staging));
  logStep('loading it');
  const probed = await probeAddon(addonFile(staging));
  await rm(wheels, { recursive: true });
  await rename(staging, folder);
  logStep(`installed TensorFlow ${probed.version}, which found ${probed.gpu ? 'a GPU' : 'no GPU'}, in ${folder}`);
}

/**
 * Compiles the addon in a copy of its sources with its binding.gyp and node-gyp.
 * @param folder contains deps/lib and deps/include; deps/include and the build files are removed afterwards
 */
async function buildAddon({ nodeGyp, nodeFolder }: Tools, folder: string, file: string): Promise<void> {
  const source = path.dirname(require.resolve('@tensorflow/tfjs-node-gpu/package.json'));
  const at = (...names: string[]) => path.join(folder, ...names);
  for (const name of ['binding', 'binding.gyp'])
    await cp(path.join(source, name), at(name), { recursive: true, force: true });
  await makeThreadLocal(at('binding', 'tfjs_backend.cc'));
  // The names that the linker looks for; the addon itself is linked to the SONAMEs of the libraries.
  const links = { 'libtensorflow.so': LIBRARIES.main, 'libtensorflow_framework.so': LIBRARIES.framework };
  for (const [link, library] of Object.entries(links)) await symlink(library, at('deps', 'lib', link));
  // The variables that node-pre-gyp would pass.
  const variables = ['--module_name=tfjs_binding', '--module_path=./lib/napi-v8', '--napi_build_version=8'];
  await run([process.execPath, nodeGyp, 'rebuild', `--nodedir=${nodeFolder}`, ...variables], { cwd: folder });
  await mkdir(path.dirname(file), { recursive: true });
  await cp(at('build', 'Release', 'tfjs_binding.node'), file);
  for (const link of Object.keys(links)) await rm(at('deps', 'lib', link));
  for (const name of ['binding', 'binding.gyp', 'build', 'deps/include']) await rm(at(name), { recursive: true });
}

/** The addon keeps one unlocked table of names per process, but two engines may compute in two threads. */
async function makeThreadLocal(file: string): Promise<void> {
  const table = 'static std::set<std::string> ATTR_NAME_SET;';
  const before = await readFile(file, 'utf8');
  if (!before.includes(table)) throw new Error(`internal: tensorflow: ${file} does not contain the expected line`);
  await writeFile(file, before.replace(table, table.replace('static', 'static thread_local')));
}

async function assertDiskSpace(folder: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  if (freeBytes < neededBytes)
    throw new AttuneError(
      `tensorflow: ${folder} has ${(freeBytes / GIB).toFixed(1)} GiB free, but installing takes ${neededBytes / GIB} GiB; free disk space, or set XDG_CACHE_HOME to a larger disk`,
      { code: 'insufficient_disk_space' },
    );
}

/** A lock file with the id of the installing process. The lock of a process that no longer runs is taken over. */
async function lock(file: string, log: Log): Promise<() => Promise<void>> {
  for (let hasLogged = false; ; ) {
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
    else if (!hasLogged) {
      hasLogged = true;
      log(`process ${holder} is installing it; waiting`);
    }
    await delay(LOCK_POLL_INTERVAL_MS);
  }
}
