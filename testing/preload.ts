// A C file compiled into a library that LD_PRELOAD puts in front of a process's own, to change what the process sees.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export type Preload = { environment: { LD_PRELOAD: string }; remove(): Promise<void> };

/** Compiles the library; returns the reason as a string if it cannot be used here. */
export async function compilePreload(source: string): Promise<Preload | string> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return `${path.basename(source)} requires Linux on x64`;
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-preload-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  const library = path.join(folder, 'preload.so');
  try {
    await run('cc', ['-O2', '-shared', '-fPIC', '-o', library, source, '-ldl']);
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
