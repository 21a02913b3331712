// What the main thread needs of a policy's package, read and checked against the rest of it. A package that cannot serve
// is refused here or by its thread, and always in the same way.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import { TOKENIZER_FILES } from '../../shared/model/checkpoint-files.ts';
import { readManifest } from '../../shared/package/files.ts';
import { MANIFEST_FILE } from '../../shared/package/manifest.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { policyUnusable, validateTokenizer } from './validate-package.ts';

export type PolicyPackage = { folder: string; architecture: Architecture; tokenizer: Tokenizer };

export async function loadPackage(id: string, folder: string): Promise<PolicyPackage> {
  try {
    const [architecture, tokenizer] = await Promise.all([readArchitecture(folder), openTokenizer(folder)]);
    validateTokenizer(tokenizer, architecture, await readTokenizerHash(folder));
    return { folder, architecture, tokenizer };
  } catch (error) {
    throw error instanceof AttuneError ? policyUnusable(id, error.message) : error;
  }
}

/** A folder without policy.json is a bare checkpoint with graphs: nothing says which tokenizer it was trained with. */
async function readTokenizerHash(folder: string): Promise<string | undefined> {
  return existsSync(join(folder, MANIFEST_FILE)) ? (await readManifest(folder)).tokenizer_hash : undefined;
}

const opened = new Map<string, WeakRef<Tokenizer>>();

/** The tokenizer of a policy's folder; the same object as before where the files are the same. */
async function openTokenizer(folder: string): Promise<Tokenizer> {
  const hash = createHash('sha256');
  for (const name of Object.values(TOKENIZER_FILES)) hash.update(await hashFile(join(folder, name)));
  const key = hash.digest('hex');
  const known = opened.get(key)?.deref();
  if (known) return known;
  const tokenizer = await Tokenizer.open(folder);
  opened.set(key, new WeakRef(tokenizer));
  return tokenizer;
}

async function hashFile(path: string): Promise<Uint8Array> {
  const hash = createHash('sha256');
  try {
    return hash.update(await readFile(path)).digest();
  } catch (error) {
    // Which files are optional is the tokenizer's business; here a missing one is only different from an empty one.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return new Uint8Array(1);
  }
}
