// The Pythons of peers, each in a virtual environment inside the cache folder: one quantizes a model for serving, one
// trains. Nothing else needs them.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AttuneError } from '../../shared/error.ts';
import type { Cache } from './cache.ts';

export const QUANTIZER = fileURLToPath(new URL('./quantize.py', import.meta.url));

export type PythonEnvironment = { name: string; packages: string[] };

/** Some 200 MB from PyPI. */
export const QUANTIZING: PythonEnvironment = {
  name: 'python',
  packages: ['onnxruntime==1.32.0', 'onnx==1.23.2', 'numpy==2.4.6'],
};

/** Some 3 GB, 6 GB on disk: PyPI's torch for Linux does not load without the libraries of a GPU that it then ignores. */
export const TRAINING: PythonEnvironment = {
  name: 'python-train',
  packages: ['torch==2.15.0', 'transformers==5.24.0', 'trl==1.16.0', 'accelerate==1.15.0', 'datasets==5.2.0'],
};

const run = promisify(execFile);

/** Makes the environment and installs its packages from PyPI. */
export async function installPython(cache: Cache, environment: PythonEnvironment): Promise<void> {
  const { name, packages } = environment;
  try {
    await cache.make(name, versionOf(environment), async (draft) => {
      await run('python3', ['-m', 'venv', draft]);
      await run(path.join(draft, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', ...packages]);
    });
  } catch (error) {
    throw new AttuneError(
      `--setup: ${(error as Error).message.trim()}; it takes python3 of 3.11 or later with venv, and PyPI`,
    );
  }
}

/** The environment's python, or null where there is none. */
export function findPython(cache: Cache, environment: PythonEnvironment): string | null {
  const folder = path.join(cache.folder, `${environment.name}.${versionOf(environment)}`);
  const python = path.join(folder, 'bin', 'python');
  return existsSync(python) ? python : null;
}

export async function runPython(cache: Cache, environment: PythonEnvironment, args: string[]): Promise<void> {
  const python = findPython(cache, environment);
  if (!python) throw new Error(`internal: bench: ${environment.name} was called before it was made`);
  await run(python, args);
}

function versionOf({ packages }: PythonEnvironment): string {
  return packages.join('_').replaceAll('==', '-');
}
