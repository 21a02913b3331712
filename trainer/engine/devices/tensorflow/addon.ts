// Where TensorFlow's native library lives: one folder for each version and kind in the user's cache, for all clones on
// the machine, so that `npm ci` does not lose it. A folder has its name only once it is whole.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { AttuneError } from '../../../../shared/error.ts';

/** The release whose C library is built against, and the package whose addon is built. */
export const VERSIONS = { tensorflow: '2.21.0', tfjs: '4.22.0' };

export type AddonKind = 'cpu' | 'gpu';

/** Where an addon is or would be. */
export type Addon = { kind: AddonKind; folder: string; file: string };

export function placeOfAddon(kind: AddonKind, env = process.env): Addon {
  // The directory specification says to ignore what is not absolute.
  const given = env.XDG_CACHE_HOME ?? '';
  const cache = path.isAbsolute(given) ? given : path.join(homedir(), '.cache');
  const name = `${VERSIONS.tensorflow}-${kind}-tfjs-${VERSIONS.tfjs}`;
  const folder = path.join(cache, 'attune', 'tensorflow', name);
  return { kind, folder, file: addonFile(folder) };
}

/** The addon looks for its libraries in ../../deps/lib. */
export function addonFile(folder: string): string {
  return path.join(folder, 'lib', 'napi-v8', 'tfjs_binding.node');
}

/** The installed addon; of both kinds the one for GPUs, which computes on a CPU too. */
export function findAddon(env = process.env): Addon | null {
  const places = (['gpu', 'cpu'] as const).map((kind) => placeOfAddon(kind, env));
  return places.find(({ file }) => existsSync(file)) ?? null;
}

export function notInstalled(): AttuneError {
  return new AttuneError(
    'ENGINE is tensorflow, and its native library is not installed; run `npx attune tensorflow install` (with --gpu for an NVIDIA GPU), or leave ENGINE unset',
    { code: 'tensorflow_not_installed' },
  );
}

const PROBE = `
const { TF_Version, isUsingGpuDevice } = require(process.argv[1]);
console.log(JSON.stringify({ version: TF_Version, gpu: isUsingGpuDevice() }));
`;

/** Loads the addon in a process of its own, which a library or driver that is broken may end. */
export async function probeAddon(file: string): Promise<{ version: string; gpu: boolean }> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', PROBE, file]);
    return JSON.parse(stdout);
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new AttuneError(
      `tensorflow: ${file} cannot be loaded: ${(stderr || message).trim().split('\n').slice(-4).join('; ')}`,
      { code: 'tensorflow_broken' },
    );
  }
}
