// What the main thread needs of a policy's package, read and checked against the rest of it. A package that cannot serve
// is refused here or by its thread, and always in the same way.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import { readManifest } from '../../shared/package/files.ts';
import { MANIFEST_FILE } from '../../shared/package/manifest.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { checkTokenizer, unusable } from './package-errors.ts';
import { openTokenizer } from './tokenizer-cache.ts';

export type Package = { folder: string; architecture: Architecture; tokenizer: Tokenizer };

export async function openPackage(id: string, folder: string): Promise<Package> {
  try {
    const [architecture, tokenizer] = await Promise.all([readArchitecture(folder), openTokenizer(folder)]);
    checkTokenizer(tokenizer, architecture, await readTokenizerHash(folder));
    return { folder, architecture, tokenizer };
  } catch (error) {
    throw error instanceof AttuneError ? unusable(id, error.message) : error;
  }
}

/** A folder without policy.json is a bare checkpoint with graphs: nothing says which tokenizer it was trained with. */
async function readTokenizerHash(folder: string): Promise<string | undefined> {
  return existsSync(join(folder, MANIFEST_FILE)) ? (await readManifest(folder)).tokenizer_hash : undefined;
}
