// The benchmark's models, as checkpoint folders in Hugging Face layout: two tinyllamas, a real instruct model, and random
// weights of its shape, which quantize without harm. The copies have no EOS token, so that every generation has its full
// length.
import { copyFile, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import { readArchitecture, writeJson } from '../../shared/model/checkpoint.ts';
import { toConfig, toGenerationConfig } from '../../shared/model/config.ts';
import { writeDefaultCheckpoint } from '../../shared/publish/convert-llama2c.ts';
import { type Cache, digestSources } from './cache.ts';
import { SMOLLM2_135M, writeRandomCheckpoint } from './random-checkpoint.ts';
import { findSmolLm2, SMOLLM2_INSTRUCT, writeSmolLm2 } from './smollm2.ts';

export type Model = { name: string; folder: string };

/** Environment variable with the folder of tinyllamas-260K, which is in no package registry. */
const TINYLLAMAS_ENV = 'TINYLLAMAS_260K';
const RANDOM_MODEL = 'smollm2-135m-random';
const MODEL_FILES = /^(config|tokenizer|tokenizer_config)\.json$|^chat_template\.jinja$|\.safetensors(\.index\.json)?$/;

const GENERATED_MODELS: Record<string, { sources: string[]; write(folder: string, cache: Cache): Promise<void> }> = {
  stories15M: {
    sources: ['shared/publish/convert-llama2c.ts', 'shared/tokenizer/bpe.ts'],
    write: writeDefaultCheckpoint,
  },
  [SMOLLM2_INSTRUCT]: {
    sources: ['tools/bench/smollm2.ts', 'shared/publish/gguf/', 'shared/model/'],
    write: writeSmolLm2,
  },
  [RANDOM_MODEL]: {
    sources: ['tools/bench/random-checkpoint.ts', 'shared/tokenizer/bpe.ts'],
    write: (folder) => writeRandomCheckpoint(folder, SMOLLM2_135M, 1),
  },
};

/** Why the model cannot be measured, or null. */
export function unavailableModelReason(name: string, cache: Cache): string | null {
  if (name !== SMOLLM2_INSTRUCT || findSmolLm2(cache)) return null;
  return 'run `npm run bench:serve -- --setup` to download it';
}

/** Names that are measured by default: real weights. */
export function listDefaultModels(env: NodeJS.ProcessEnv): string[] {
  return listModels(env).filter((name) => name !== RANDOM_MODEL);
}

/** Names accepted by --models; tinyllamas-260K only if its folder is set. */
export function listModels(env: NodeJS.ProcessEnv): string[] {
  return [...(env[TINYLLAMAS_ENV] ? ['tinyllamas-260K'] : []), ...Object.keys(GENERATED_MODELS)];
}

/** Prepares the model with this name, or a checkpoint folder in Hugging Face layout. */
export async function openModel(cache: Cache, nameOrFolder: string, env: NodeJS.ProcessEnv): Promise<Model> {
  const generated = GENERATED_MODELS[nameOrFolder];
  if (generated) {
    const version = await digestSources(['tools/bench/models.ts', ...generated.sources]);
    const folder = await cache.build(`${nameOrFolder}/checkpoint`, version, async (staging) => {
      await generated.write(staging, cache);
      await removeEosToken(staging);
    });
    return { name: nameOrFolder, folder };
  }
  const source = nameOrFolder === 'tinyllamas-260K' ? env[TINYLLAMAS_ENV] : nameOrFolder;
  if (!source) {
    throw new AttuneError(
      `--models: tinyllamas-260K is in no package; set ${TINYLLAMAS_ENV} to a folder with the model in Hugging Face layout`,
    );
  }
  const name = nameOrFolder === source ? path.basename(path.resolve(source)) : nameOrFolder;
  // Validate before copying, so that errors refer to the user's folder.
  await readArchitecture(source);
  const files = (await readdir(source)).filter((file) => MODEL_FILES.test(file)).sort();
  const states = await Promise.all(files.map((file) => stat(path.join(source, file))));
  const state = JSON.stringify(states.map(({ size, mtimeMs }, at) => [files[at], size, mtimeMs]));
  const version = await digestSources(['tools/bench/models.ts'], state);
  const folder = await cache.build(`${name}/checkpoint`, version, async (staging) => {
    for (const file of files) await copyFile(path.join(source, file), path.join(staging, file));
    await removeEosToken(staging);
  });
  return { name, folder };
}

async function removeEosToken(folder: string): Promise<void> {
  const architecture = { ...(await readArchitecture(folder)), eos: [] };
  await writeJson(path.join(folder, 'config.json'), { ...toConfig(architecture), eos_token_id: null });
  await writeJson(path.join(folder, 'generation_config.json'), {
    ...toGenerationConfig(architecture),
    eos_token_id: null,
  });
}
