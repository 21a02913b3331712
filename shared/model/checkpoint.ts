// Reads and writes checkpoint folders in Hugging Face layout: config.json, tokenizer.json, safetensors. A damaged
// checkpoint is rejected, never repaired.
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AttuneError } from '../error.ts';
import type { Architecture } from './architecture.ts';
import { fromCheckpointTensors, invalidCheckpoint, toCheckpointTensors } from './checkpoint-tensors.ts';
import { parseConfig, toConfig, toGenerationConfig } from './config.ts';
import { getFamily } from './families/families.ts';
import { openCheckpointWeights, writeSafetensors } from './safetensors.ts';
import { type LazyWeights, readWeights, type Weights } from './tensor.ts';

export type Checkpoint = { architecture: Architecture; weights: Weights };
/** A checkpoint whose tensors are read when they are needed. */
export type OpenCheckpoint = { architecture: Architecture; weights: LazyWeights };

/**
 * Of a policy, or of a reward if `output` says so. Validates the files, the architecture, and every tensor's presence and
 * shape; a tensor's values are validated when it is read. Throws AttuneError.
 */
export async function openCheckpoint(
  folder: string,
  output: Architecture['output'] = 'logits',
): Promise<OpenCheckpoint> {
  const architecture = await readArchitecture(folder, output);
  await stat(join(folder, 'tokenizer.json')).catch((error) => {
    throw isMissing(error) ? missingFile('tokenizer.json') : error;
  });
  // Old exporters saved attention masks as BOOL tensors, which have no float32 form.
  const stored = await openCheckpointWeights(folder, { skip: getFamily(architecture).buffers });
  return { architecture, weights: fromCheckpointTensors(architecture, stored) };
}

/** Opens a checkpoint and reads its tensors into memory. */
export async function readCheckpoint(folder: string, output?: Architecture['output']): Promise<Checkpoint> {
  const { architecture, weights } = await openCheckpoint(folder, output);
  return { architecture, weights: await readWeights(weights) };
}

/** Reads config.json and, if present, generation_config.json. */
export async function readArchitecture(
  folder: string,
  output: Architecture['output'] = 'logits',
): Promise<Architecture> {
  const config = await readJson(join(folder, 'config.json'), 'config.json');
  if (config === undefined) throw missingFile('config.json');
  const generationConfig = await readJson(join(folder, 'generation_config.json'), 'generation_config.json');
  return parseConfig(config, generationConfig, output);
}

/** Writes config.json, generation_config.json and model.safetensors. The caller copies the tokenizer's files. */
export async function writeCheckpoint(folder: string, { architecture, weights }: OpenCheckpoint): Promise<void> {
  const stored = toCheckpointTensors(architecture, weights);
  await writeJson(join(folder, 'config.json'), toConfig(architecture));
  await writeJson(join(folder, 'generation_config.json'), toGenerationConfig(architecture));
  await writeSafetensors(join(folder, 'model.safetensors'), stored);
}

/** Returns the parsed file, or undefined if it does not exist. `name` appears in errors. */
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
    throw invalidCheckpoint(`${name} is not valid JSON; download or export the checkpoint again`);
  }
}

/** Writes indented JSON and flushes it to disk. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`, { flush: true });
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function missingFile(name: string): AttuneError {
  return invalidCheckpoint(`${name} is missing; pass a folder in Hugging Face layout`);
}
