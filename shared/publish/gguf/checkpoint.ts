// Opens a GGUF file as a checkpoint: its config and tokenizer are written as the files of a Hugging Face checkpoint, its
// tensors are read when they are needed.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type OpenCheckpoint, writeJson } from '../../model/checkpoint.ts';
import { TOKENIZER_FILES } from '../../model/checkpoint-files.ts';
import { fromCheckpointTensors } from '../../model/checkpoint-tensors.ts';
import { toConfig, toGenerationConfig } from '../../model/config.ts';
import { readGgufArchitecture } from './config.ts';
import { openGguf } from './file.ts';
import { GGUF_FORMAT } from './tensors.ts';
import { readGgufTokenizer } from './tokenizer.ts';

export type GgufCheckpoint = OpenCheckpoint & { license?: string };

/** Throws AttuneError; then nothing has been written. `folder`: where the files of config and tokenizer are written. */
export async function openGgufCheckpoint(path: string, folder: string): Promise<GgufCheckpoint> {
  const file = await openGguf(path);
  const { tokenizer, tokenizerConfig, special } = readGgufTokenizer(file);
  const architecture = await readGgufArchitecture(file, special);
  const weights = fromCheckpointTensors(architecture, file.tensors, GGUF_FORMAT);

  await writeFile(join(folder, TOKENIZER_FILES.tokenizer), JSON.stringify(tokenizer));
  await writeJson(join(folder, TOKENIZER_FILES.tokenizerConfig), tokenizerConfig);
  await writeJson(join(folder, TOKENIZER_FILES.config), toConfig(architecture));
  await writeJson(join(folder, TOKENIZER_FILES.generationConfig), toGenerationConfig(architecture));
  const license = file.metadata['general.license'];
  return { architecture, weights, ...(typeof license === 'string' ? { license } : {}) };
}
