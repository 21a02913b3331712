// Policies of one family share a tokenizer, and building one takes the main thread some 50 ms and tens of megabytes.
// So a swap opens it anew only where a file that a tokenizer is made of has changed.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';

const FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'config.json',
  'generation_config.json',
  'chat_template.jinja',
];

const opened = new Map<string, WeakRef<Tokenizer>>();

/** The tokenizer of a policy's folder; the same object as before where the files are the same. */
export async function openTokenizer(folder: string): Promise<Tokenizer> {
  const hash = createHash('sha256');
  for (const name of FILES) hash.update(await fingerprint(join(folder, name)));
  const key = hash.digest('hex');
  const known = opened.get(key)?.deref();
  if (known) return known;
  const tokenizer = await Tokenizer.open(folder);
  opened.set(key, new WeakRef(tokenizer));
  return tokenizer;
}

async function fingerprint(path: string): Promise<Uint8Array> {
  const hash = createHash('sha256');
  try {
    return hash.update(await readFile(path)).digest();
  } catch (error) {
    // Which files are optional is the tokenizer's business; here a missing one is only different from an empty one.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return new Uint8Array(1);
  }
}
