// A folder of artifacts that take long to build: checkpoints, packages, quantized copies. Each is built under a temporary
// name and renamed when complete. Its name contains the digest of the code that builds it, so that changed code rebuilds it.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';

export class Cache {
  readonly folder: string;
  private readonly log: (line: string) => void;

  constructor(folder: string, log: (line: string) => void) {
    this.folder = path.resolve(folder);
    this.log = log;
  }

  /** Returns the folder of `name` at `version`; `build` fills it if it does not exist. Removes other versions. */
  async build(name: string, version: string, build: (staging: string) => Promise<void>): Promise<string> {
    const folder = path.join(this.folder, `${name}.${version}`);
    if (existsSync(folder)) return folder;
    const parent = path.dirname(folder);
    await mkdir(parent, { recursive: true });
    for (const other of await readdir(parent)) {
      if (other.startsWith(`${path.basename(name)}.`))
        await rm(path.join(parent, other), { recursive: true, force: true });
    }
    this.log(`building ${path.relative(process.cwd(), folder)}`);
    const staging = `${folder}.${process.pid}`;
    await mkdir(staging);
    try {
      await build(staging);
      await rename(staging, folder);
    } catch (error) {
      await rm(staging, { recursive: true, force: true });
      throw error;
    }
    return folder;
  }
}

/** A short digest of source files, of folders (ending in /) relative to the repository's root, and of `input`. */
export async function digestSources(sources: string[], input = ''): Promise<string> {
  const hash = createHash('sha256').update(input);
  for (const source of sources) {
    const location = new URL(`../../${source}`, import.meta.url);
    for (const name of source.endsWith('/') ? await listSources(location) : [''])
      hash.update(await readFile(new URL(name, location)));
  }
  return hash.digest('hex').slice(0, 10);
}

async function listSources(folder: URL): Promise<string[]> {
  return (await readdir(folder)).filter((name) => /(?<!\.test)\.ts$/.test(name)).sort();
}
