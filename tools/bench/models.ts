// The models that are measured, as checkpoint folders in Hugging Face layout: the two real tinyllamas, and one of
// SmolLM2-135M's shape whose weights are random, because speed does not depend on what they say.
// The copies have no end-of-sequence token: every generation then has its full length, and nobody pays for that.
import { copyFile, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import { readArchitecture, writeJson } from '../../shared/model/checkpoint.ts';
import { toConfig, toGenerationConfig } from '../../shared/model/config.ts';
import { writeDefaultCheckpoint } from '../../shared/publish/convert-llama2c.ts';
import { type Cache, digestSources } from './cache.ts';
import { SMOLLM2_135M, writeRandomCheckpoint } from './random-model.ts';

export type Model = { name: string; folder: string };

/** The checkpoint of tinyllamas' 260K model; it is in no package registry. */
const TINY_FOLDER = 'TINYLLAMAS_260K';
const FILES = /^(config|tokenizer|tokenizer_config)\.json$|\.safetensors(\.index\.json)?$/;

const MADE: Record<string, { sources: string[]; write(folder: string): Promise<void> }> = {
  stories15M: {
    sources: ['shared/publish/convert-llama2c.ts', 'shared/tokenizer/bpe.ts'],
    write: writeDefaultCheckpoint,
  },
  'smollm2-135m-random': {
    sources: ['tools/bench/random-model.ts', 'shared/tokenizer/bpe.ts'],
    write: (folder) => writeRandomCheckpoint(folder, SMOLLM2_135M, 1),
  },
};

/** Names that --models understands; tinyllamas-260K only where its folder is given. */
export function listModels(env: NodeJS.ProcessEnv): string[] {
  return [...(env[TINY_FOLDER] ? ['tinyllamas-260K'] : []), ...Object.keys(MADE)];
}

/** Makes or finds the model of a name, or of a Hugging Face folder. */
export async function openModel(cache: Cache, nameOrFolder: string, env: NodeJS.ProcessEnv): Promise<Model> {
  const made = MADE[nameOrFolder];
  if (made) {
    const version = await digestSources(['tools/bench/models.ts', ...made.sources]);
    const folder = await cache.make(`${nameOrFolder}/checkpoint`, version, async (draft) => {
      await made.write(draft);
      await dropEnd(draft);
    });
    return { name: nameOrFolder, folder };
  }
  const given = nameOrFolder === 'tinyllamas-260K' ? env[TINY_FOLDER] : nameOrFolder;
  if (!given) {
    throw new AttuneError(
      `--models: tinyllamas-260K is real weights in no package; set ${TINY_FOLDER} to a folder that holds them in Hugging Face layout`,
    );
  }
  const name = nameOrFolder === given ? path.basename(path.resolve(given)) : nameOrFolder;
  // Read before anything is copied, so that a wrong folder is named as the user wrote it.
  await readArchitecture(given);
  const files = (await readdir(given)).filter((file) => FILES.test(file)).sort();
  const states = await Promise.all(files.map((file) => stat(path.join(given, file))));
  const state = JSON.stringify(states.map(({ size, mtimeMs }, at) => [files[at], size, mtimeMs]));
  const version = await digestSources(['tools/bench/models.ts'], state);
  const folder = await cache.make(`${name}/checkpoint`, version, async (draft) => {
    for (const file of files) await copyFile(path.join(given, file), path.join(draft, file));
    await dropEnd(draft);
  });
  return { name, folder };
}

async function dropEnd(folder: string): Promise<void> {
  const architecture = { ...(await readArchitecture(folder)), eos: [] };
  await writeJson(path.join(folder, 'config.json'), { ...toConfig(architecture), eos_token_id: null });
  await writeJson(path.join(folder, 'generation_config.json'), {
    ...toGenerationConfig(architecture),
    eos_token_id: null,
  });
}
