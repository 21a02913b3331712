// Finished results on disk, one JSON file each under the digest of all its inputs: an interrupted evidence run resumes,
// and the page can be rendered again without training.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { hashContent } from '../../shared/digest.ts';

export class ResultCache {
  readonly folder: string;
  private readonly isReadOnly: boolean;

  constructor(folder: string, { readOnly }: { readOnly: boolean }) {
    this.folder = folder;
    this.isReadOnly = readOnly;
  }

  /** The cached result for `key`, or that of `compute`; null when it is not cached and the cache is read-only. */
  async getOrCompute<T>(name: string, key: unknown, compute: () => Promise<T>): Promise<T | null> {
    const file = this.pathFor(name, key);
    const cached = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return null;
    });
    if (cached !== null) return JSON.parse(cached) as T;
    if (this.isReadOnly) return null;
    const result = await compute();
    await mkdir(this.folder, { recursive: true });
    await writeFile(`${file}.partial`, JSON.stringify(result), { flush: true });
    await rename(`${file}.partial`, file);
    return result;
  }

  pathFor(name: string, key: unknown, extension = 'json'): string {
    const readable = name.replace(/[^\w.]+/g, '-');
    return path.join(this.folder, `${readable}-${(hashContent([name, key])).slice(0, 12)}.${extension}`);
  }
}
