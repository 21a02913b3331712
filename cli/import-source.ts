// Where `attune policies import` takes a policy from: a checkpoint folder, a GGUF file, or the Hugging Face hub.
import path from 'node:path';
import { readArchitecture } from '../shared/model/checkpoint.ts';
import { openGgufCheckpoint } from '../shared/publish/gguf/checkpoint.ts';
import { fetchCheckpoint } from '../shared/publish/hub.ts';
import type { PublishListener } from '../shared/publish/progress.ts';
import type { ImportOptions } from '../shared/publish/publish.ts';
import type { LocalStore } from '../shared/store/local-store.ts';

export type ImportSource = Pick<ImportOptions, 'origin' | 'checkpoint'> & {
  /** With the config and the tokenizer at least; temporary unless it is the user's. */
  folder: string;
  /** Default name of the policy. */
  name: string;
};

/** Opens `source`, gives it to `use`, and removes what was temporary. */
export async function withSource<Result>(
  source: string,
  store: LocalStore,
  onProgress: PublishListener,
  use: (source: ImportSource) => Promise<Result>,
): Promise<Result> {
  const hub = source.startsWith('hf:') ? source.slice(3) : null;
  if (!hub && !source.endsWith('.gguf')) {
    const folder = path.resolve(source);
    // First, so that a folder that is no checkpoint is refused as one.
    await readArchitecture(folder);
    return use({ folder, name: path.basename(folder) });
  }
  const folder = await store.createStaging();
  try {
    return await use(hub ? await download(hub, folder, onProgress) : await openFile(source, folder));
  } finally {
    await store.discardStaging(folder);
  }
}

async function download(repository: string, folder: string, onProgress: PublishListener): Promise<ImportSource> {
  const inMiB = (bytes: number) => Math.round(bytes / 2 ** 20);
  const { source, license } = await fetchCheckpoint(repository, folder, {
    onProgress: ({ loadedBytes, totalBytes }) =>
      onProgress({ stage: `downloading ${repository} (MiB)`, done: inMiB(loadedBytes), total: inMiB(totalBytes) }),
  });
  return { folder, name: repository, origin: { source, license } };
}

async function openFile(file: string, folder: string): Promise<ImportSource> {
  const { license, ...checkpoint } = await openGgufCheckpoint(file, folder);
  const name = path.basename(file, '.gguf');
  return { folder, name, checkpoint, origin: { source: `imported: ${path.basename(file)}`, license } };
}
