// Python virtual environments inside the cache folder: one to quantize a model for serving, one to train.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AttuneError } from '../../shared/error.ts';
import type { Cache } from './cache.ts';

export const QUANTIZE_SCRIPT = fileURLToPath(new URL('./quantize.py', import.meta.url));

export type PythonEnvironment = { name: string; packages: string[] };

/** About 200 MB from PyPI. */
export const QUANTIZE_ENV: PythonEnvironment = {
  name: 'python',
  packages: ['onnxruntime==1.32.0', 'onnx==1.23.2', 'numpy==2.4.6'],
};

/** About 3 GB from PyPI, 6 GB on disk: torch for Linux requires CUDA libraries even if it runs on the CPU. */
export const TRAIN_ENV: PythonEnvironment = {
  name: 'python-train',
  packages: ['torch==2.15.0', 'transformers==5.24.0', 'trl==1.16.0', 'accelerate==1.15.0', 'datasets==5.2.0'],
};

const run = promisify(execFile);

/** Creates the environment and installs its packages from PyPI. */
export async function installPython(cache: Cache, environment: PythonEnvironment): Promise<void> {
  const { name, packages } = environment;
  try {
    await cache.build(name, environmentVersion(environment), async (staging) => {
      await run('python3', ['-m', 'venv', staging]);
      await run(path.join(staging, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', ...packages]);
    });
  } catch (error) {
    throw new AttuneError(
      `--setup: ${(error as Error).message.trim()}; requires python3 3.11 or later with venv, and access to PyPI`,
    );
  }
}

/** Path of the environment's python, or null if it is not installed. */
export function findPython(cache: Cache, environment: PythonEnvironment): string | null {
  const folder = path.join(cache.folder, `${environment.name}.${environmentVersion(environment)}`);
  const python = path.join(folder, 'bin', 'python');
  return existsSync(python) ? python : null;
}

export async function runPython(cache: Cache, environment: PythonEnvironment, args: string[]): Promise<void> {
  const python = findPython(cache, environment);
  if (!python) throw new Error(`internal: bench: ${environment.name} is not installed`);
  await run(python, args);
}

function environmentVersion({ packages }: PythonEnvironment): string {
  return packages.join('_').replaceAll('==', '-');
}
