// The folder in which the benchmark keeps what takes long to make: checkpoints, packages, quantized copies. Each is made
// once under another name and renamed when whole. What is derived by code is named after that code's digest, so that a
// change of a writer is never measured on what its predecessor wrote.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';

export class Cache {
  readonly folder: string;
  private readonly say: (line: string) => void;

  constructor(folder: string, say: (line: string) => void) {
    this.folder = path.resolve(folder);
    this.say = say;
  }

  /** The folder of `name`, filled by `fill` unless a former run did; older versions of it are removed. */
  async make(name: string, version: string, fill: (draft: string) => Promise<void>): Promise<string> {
    const folder = path.join(this.folder, `${name}.${version}`);
    if (existsSync(folder)) return folder;
    const parent = path.dirname(folder);
    await mkdir(parent, { recursive: true });
    for (const other of await readdir(parent)) {
      if (other.startsWith(`${path.basename(name)}.`))
        await rm(path.join(parent, other), { recursive: true, force: true });
    }
    this.say(`making ${path.relative(process.cwd(), folder)}`);
    const draft = `${folder}.${process.pid}`;
    await mkdir(draft);
    try {
      await fill(draft);
      await rename(draft, folder);
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      throw error;
    }
    return folder;
  }
}

/** A short digest of source files and of folders of them, given from the repository's root, and of what they work on. */
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
