// Finished pieces of work, one JSON file each under the digest of all that decides what comes out: an evidence run that
// was stopped goes on where it was, and the page can be made again without computing anything.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { hashContent } from '../../shared/digest.ts';

export class Archive {
  readonly folder: string;
  private readonly canWork: boolean;

  /** Where it may not work, it knows only what is kept. */
  constructor(folder: string, { canWork }: { canWork: boolean }) {
    this.folder = folder;
    this.canWork = canWork;
  }

  /** What an earlier run found for this key, or what `work` finds now; null where it may not work. */
  async recall<T>(name: string, key: unknown, work: () => Promise<T>): Promise<T | null> {
    const file = await this.fileOf(name, key);
    const kept = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return null;
    });
    if (kept !== null) return JSON.parse(kept) as T;
    if (!this.canWork) return null;
    const found = await work();
    await mkdir(this.folder, { recursive: true });
    await writeFile(`${file}.partial`, JSON.stringify(found), { flush: true });
    await rename(`${file}.partial`, file);
    return found;
  }

  /** Where something of this key is kept. */
  async fileOf(name: string, key: unknown, ending = 'json'): Promise<string> {
    const readable = name.replace(/[^\w.]+/g, '-');
    return path.join(this.folder, `${readable}-${(await hashContent([name, key])).slice(0, 12)}.${ending}`);
  }
}
