// The Python that quantizes a peer's model, in a virtual environment inside the cache folder. Nothing else needs it.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AttuneError } from '../shared/error.ts';
import type { Cache } from './cache.ts';

export const QUANTIZER = fileURLToPath(new URL('./quantize.py', import.meta.url));
const PACKAGES = ['onnxruntime==1.32.0', 'onnx==1.23.2', 'numpy==2.4.6'];

const run = promisify(execFile);

/** Makes the environment and installs what the quantizer needs: some 200 MB from PyPI. */
export async function installPython(cache: Cache): Promise<void> {
  try {
    await cache.make('python', PACKAGES.join('_').replaceAll('==', '-'), async (draft) => {
      await run('python3', ['-m', 'venv', draft]);
      await run(path.join(draft, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', ...PACKAGES]);
    });
  } catch (error) {
    throw new AttuneError(
      `--setup: ${(error as Error).message.trim()}; it takes python3 of 3.11 or later with venv, and PyPI`,
    );
  }
}

/** The environment's python, or null where there is none. */
export function findPython(cache: Cache): string | null {
  const folder = path.join(cache.folder, `python.${PACKAGES.join('_').replaceAll('==', '-')}`);
  const python = path.join(folder, 'bin', 'python');
  return existsSync(python) ? python : null;
}

export async function runPython(cache: Cache, args: string[]): Promise<void> {
  const python = findPython(cache);
  if (!python) throw new Error('internal: bench: the quantizer was called without its Python');
  await run(python, args);
}
