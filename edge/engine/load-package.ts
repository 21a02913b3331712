// What the main thread reads of a policy's package: the architecture and the tokenizer, which must match. The serving graph
// is loaded by the policy's thread. The tokenizer thread opens the tokenizer first: one that never finishes ends that
// thread, not this one; and the first request finds it warm.
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
import { policyUnusable } from './policy-errors.ts';
import type { TokenizerThread } from './tokenizer-thread.ts';
import { validateTokenizer } from './validate-package.ts';

export type PolicyTokenizer = {
  /** Decodes on the main thread. */
  tokenizer: Tokenizer;
  /** Names it in requests to the tokenizer thread. */
  tokenizerKey: string;
};

/** Throws `policy_unusable` if it cannot be opened or is another policy's. */
export async function openPolicyTokenizer(
  id: string,
  folder: string,
  architecture: Architecture,
  thread: TokenizerThread,
): Promise<PolicyTokenizer> {
  try {
    const tokenizerKey = await hashTokenizerFiles(folder);
    const request = { folder, key: tokenizerKey, contextLength: architecture.contextLength, prompt: null };
    await thread.encode(request, { tenant: 'policies' });
    const tokenizer = await openTokenizer(folder, tokenizerKey);
    validateTokenizer(tokenizer, architecture, await readTokenizerHash(folder));
    return { tokenizer, tokenizerKey };
  } catch (error) {
    throw toPolicyError(id, error);
  }
}

/** Throws `policy_unusable` if config.json cannot be read. */
export async function readPolicyArchitecture(id: string, folder: string): Promise<Architecture> {
  try {
    return await readArchitecture(folder);
  } catch (error) {
    throw toPolicyError(id, error);
  }
}

function toPolicyError(id: string, error: unknown): unknown {
  return error instanceof AttuneError && error.status === 400 ? policyUnusable(id, error.message) : error;
}

/** A folder without policy.json is a bare checkpoint with graphs, which does not record its tokenizer's hash. */
async function readTokenizerHash(folder: string): Promise<string | undefined> {
  return existsSync(join(folder, MANIFEST_FILE)) ? (await readManifest(folder)).tokenizer_hash : undefined;
}

/** Keyed by the hash of the files; weak, because a tokenizer takes tens of megabytes and only loaded policies need one. */
const tokenizers = new Map<string, WeakRef<Tokenizer>>();

/**
 * Policies of one family share a tokenizer, and building one blocks the main thread for some 50 ms: a swap builds a new
 * one only if one of its files has changed.
 */
async function openTokenizer(folder: string, key: string): Promise<Tokenizer> {
  const cached = tokenizers.get(key)?.deref();
  if (cached) return cached;
  const tokenizer = await Tokenizer.open(folder);
  tokenizers.set(key, new WeakRef(tokenizer));
  return tokenizer;
}

async function hashTokenizerFiles(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of Object.values(TOKENIZER_FILES)) hash.update(await hashFile(join(folder, name)));
  return hash.digest('hex');
}

async function hashFile(path: string): Promise<Uint8Array> {
  const hash = createHash('sha256');
  try {
    return hash.update(await readFile(path)).digest();
  } catch (error) {
    // Tokenizer.open decides which files are optional; here a missing file only differs from an empty one.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return new Uint8Array(1);
  }
}
