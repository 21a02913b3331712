// Runs a command on an AVX2 processor: on a newer one, the features that came after AVX2 are hidden from it.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

type Avx2Only = { environment: { LD_PRELOAD: string }; remove(): Promise<void> };

/** Compiles the library; returns the reason as a string if it cannot be used here. */
export async function hideNewerThanAvx2(): Promise<Avx2Only | string> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'hiding processor features requires Linux on x64';
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-avx2-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  const library = path.join(folder, 'avx2-only.so');
  try {
    await run('cc', ['-O2', '-shared', '-fPIC', '-o', library, path.join(import.meta.dirname, 'avx2-only.c'), '-ldl']);
  } catch (error) {
    await remove();
    return `no C compiler (${(error as Error).message.split('\n')[0]}); install one: apt-get install gcc libc6-dev`;
  }
  const environment = { LD_PRELOAD: library };
  try {
    await run('true', [], { env: { ...process.env, ...environment } });
  } catch (error) {
    await remove();
    return (error as { stderr?: string }).stderr?.trim() || `${library} cannot be loaded`;
  }
  return { environment, remove };
}
