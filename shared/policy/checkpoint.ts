// A checkpoint folder in Hugging Face layout: config.json, tokenizer.json, safetensors. Reading checks everything that
// can be checked before a round or a server spends time on it; a damaged checkpoint is refused, never repaired.
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AttuneError } from '../error.ts';
import {
  type Architecture,
  buildConfig,
  buildGenerationConfig,
  parseArchitecture,
  weightShapes,
} from './architecture.ts';
import { readCheckpointWeights, type Weights, writeSafetensors } from './safetensors.ts';

export type Checkpoint = { architecture: Architecture; weights: Weights };

/** Buffers that old exporters saved beside the weights; the architecture already determines them. */
const HARMLESS_BUFFER = /(^|\.)rotary_emb\.inv_freq$|\.self_attn\.(masked_)?bias$/;

/** Reads and checks a checkpoint: files, architecture, and every tensor's presence, shape and finiteness. */
export async function readCheckpoint(folder: string): Promise<Checkpoint> {
  const architecture = await readArchitecture(folder);
  await stat(join(folder, 'tokenizer.json')).catch((error) => {
    throw isMissing(error) ? missingFile('tokenizer.json') : error;
  });
  const weights = await readCheckpointWeights(folder);
  return { architecture, weights: checkWeights(architecture, weights) };
}

/** Reads config.json and, where there is one, generation_config.json. */
export async function readArchitecture(folder: string): Promise<Architecture> {
  const config = await readJson(join(folder, 'config.json'), 'config.json');
  if (config === undefined) throw missingFile('config.json');
  return parseArchitecture(config, await readJson(join(folder, 'generation_config.json'), 'generation_config.json'));
}

/** Writes config.json, generation_config.json and model.safetensors. The tokenizer's files are the caller's to copy. */
export async function writeCheckpoint(folder: string, { architecture, weights }: Checkpoint): Promise<void> {
  const checked = checkWeights(architecture, weights);
  await writeJson(join(folder, 'config.json'), buildConfig(architecture));
  await writeJson(join(folder, 'generation_config.json'), buildGenerationConfig(architecture));
  await writeSafetensors(join(folder, 'model.safetensors'), checked);
}

/** Returns the architecture's tensors in checkpoint order, or throws at the first that is missing, misshapen or broken. */
export function checkWeights(architecture: Architecture, weights: Weights): Weights {
  const shapes = weightShapes(architecture);
  const checked: Weights = new Map();
  for (const [name, shape] of shapes) {
    const tensor = weights.get(name);
    if (tensor === undefined) {
      throw invalid(`tensor ${name} is missing; the checkpoint is incomplete or its config.json is another model's`);
    }
    if (tensor.shape.join() !== shape.join()) {
      throw invalid(
        `tensor ${name} has shape [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]; ` +
          "the checkpoint is damaged or its config.json is another model's",
      );
    }
    const at = findNonFinite(tensor.data);
    if (at >= 0) {
      throw invalid(`tensor ${name} holds ${tensor.data[at]} at index ${at}; its training diverged or it is damaged`);
    }
    checked.set(name, tensor);
  }
  for (const name of weights.keys()) {
    const known = shapes.has(name) || HARMLESS_BUFFER.test(name) || (architecture.tied && name === 'lm_head.weight');
    if (!known) throw invalid(`tensor ${name} has no place in a Llama of this config.json; it is another model's`);
  }
  return checked;
}

function findNonFinite(data: Float32Array): number {
  // x - x is 0 for every finite x and NaN for the rest: one pass without a branch per element decides the usual case.
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]! - data[i]!;
  return sum === 0 ? -1 : data.findIndex((value) => !Number.isFinite(value));
}

/** The parsed file, or undefined where there is none. */
export async function readJson(path: string, name: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(`${name} is not JSON; download or export the checkpoint again`);
  }
}

/** Writes indented JSON, on disk before it returns. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`, { flush: true });
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function missingFile(name: string): AttuneError {
  return invalid(`${name} is missing; give a folder in Hugging Face layout`);
}

function invalid(problem: string): AttuneError {
  return new AttuneError(`policies import: ${problem}`, { code: 'invalid_checkpoint' });
}
