// What the main thread needs of a policy's package, read and checked against the rest of it. A package that cannot serve
// is refused here or by its thread, and always in the same way.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/policy/architecture.ts';
import { readArchitecture } from '../../shared/policy/checkpoint.ts';
import { MANIFEST_FILE, readManifest } from '../../shared/policy/manifest.ts';
import type { Tokenizer } from '../../shared/policy/tokenizer.ts';
import { openTokenizer } from './tokenizers.ts';

export type Package = { folder: string; architecture: Architecture; tokenizer: Tokenizer };

export async function openPackage(id: string, folder: string): Promise<Package> {
  try {
    const [architecture, tokenizer] = await Promise.all([readArchitecture(folder), openTokenizer(folder)]);
    await checkTokenizer(folder, tokenizer, architecture);
    return { folder, architecture, tokenizer };
  } catch (error) {
    throw error instanceof AttuneError ? unusable(id, error.message) : error;
  }
}

export function unusable(id: string, problem: string): AttuneError {
  return new AttuneError(`policy ${id} cannot serve: ${problem}`, { status: 422, code: 'policy_unusable' });
}

/** With another policy's tokenizer a policy answers all the same, in nonsense. */
async function checkTokenizer(folder: string, tokenizer: Tokenizer, { vocabSize }: Architecture): Promise<void> {
  const remedy = 'this is another tokenizer; publish the policy again with its own';
  if (tokenizer.size > vocabSize) {
    throw new AttuneError(`tokenizer.json has ${tokenizer.size} tokens, the policy knows ${vocabSize}; ${remedy}`);
  }
  if (!existsSync(join(folder, MANIFEST_FILE))) return;
  const { tokenizer_hash: expected } = await readManifest(folder);
  if (tokenizer.hash !== expected) {
    throw new AttuneError(`tokenizer.json has hash ${tokenizer.hash}, policy.json says ${expected}; ${remedy}`);
  }
}
