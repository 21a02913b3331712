// Finds TensorFlow's native library: one folder per version and kind in the user's cache, shared by all clones on the
// machine, so that `npm ci` does not remove it. A folder gets its final name when it is complete.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { AttuneError } from '../../../../shared/error.ts';

/** The TensorFlow release to build against, and the npm package whose addon is built. */
export const VERSIONS = { tensorflow: '2.21.0', tfjs: '4.22.0' };

export type AddonKind = 'cpu' | 'gpu';

/** The paths of an addon, which may not be installed. */
export type Addon = { kind: AddonKind; folder: string; file: string };

export function addonLocation(kind: AddonKind, env = process.env): Addon {
  // The XDG base directory specification says to ignore relative paths.
  const xdgCache = env.XDG_CACHE_HOME ?? '';
  const cache = path.isAbsolute(xdgCache) ? xdgCache : path.join(homedir(), '.cache');
  const name = `${VERSIONS.tensorflow}-${kind}-tfjs-${VERSIONS.tfjs}`;
  const folder = path.join(cache, 'attune', 'tensorflow', name);
  return { kind, folder, file: addonFile(folder) };
}

/** The addon loads its libraries from ../../deps/lib. */
export function addonFile(folder: string): string {
  return path.join(folder, 'lib', 'napi-v8', 'tfjs_binding.node');
}

/** The installed addon; if both are, the one for GPUs, which also computes on a CPU. */
export function findAddon(env = process.env): Addon | null {
  const locations = (['gpu', 'cpu'] as const).map((kind) => addonLocation(kind, env));
  return locations.find(({ file }) => existsSync(file)) ?? null;
}

export function addonNotInstalled(): AttuneError {
  return new AttuneError(
    'ENGINE is tensorflow, but its native library is not installed; run `npx attune tensorflow install` (with --gpu for an NVIDIA GPU), or leave ENGINE unset',
    { code: 'tensorflow_not_installed' },
  );
}

const PROBE = `
const { TF_Version, isUsingGpuDevice } = require(process.argv[1]);
console.log(JSON.stringify({ version: TF_Version, gpu: isUsingGpuDevice() }));
`;

/** Loads the addon in a child process, because a broken library or driver may crash it. */
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

/**
 * Sets the environment variables that TensorFlow reads when it is loaded, unless they are set already. Call it in the
 * main thread: a worker's environment is a copy that native libraries do not read.
 */
export function setTensorflowEnvironment(threads: number, env = process.env): void {
  const defaults = {
    TF_CPP_MIN_LOG_LEVEL: '2',
    TF_NUM_INTRAOP_THREADS: String(threads),
    // By default TensorFlow allocates the whole memory of the GPU, so that no other process can use it.
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    // TF32 has 10 bits of mantissa; exported graphs are checked against the trainer's own logits within 1e-4.
    NVIDIA_TF32_OVERRIDE: '0',
  };
  for (const [name, value] of Object.entries(defaults)) env[name] ??= value;
}
