// The responses that a distillation sampled, kept in the round's folder, so that a round whose trainer was killed does not
// sample again. The file is renamed into place, so that it is complete or not there.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readJson } from '../../shared/model/checkpoint.ts';
import type { RoundContext } from './round-context.ts';

type KeptSamples = { fingerprint: string; responses: number[][] };

export const SAMPLES_FILE = 'samples.json';

/** `fingerprint` is a digest of everything that determines the samples. Samples with another one are replaced. */
export async function keepSamples(
  { folder, checkpointFolder }: Pick<RoundContext, 'folder' | 'checkpointFolder'>,
  fingerprint: string,
  sample: () => Promise<number[][]>,
): Promise<number[][]> {
  const file = path.join(folder, SAMPLES_FILE);
  // An unreadable file counts as none.
  const kept = (await readJson(file, SAMPLES_FILE).catch(() => undefined)) as KeptSamples | undefined;
  if (kept?.fingerprint === fingerprint) return kept.responses;
  const responses = await sample();
  await mkdir(folder, { recursive: true });
  // Its name is this trainer's own.
  const partial = `${checkpointFolder}-${SAMPLES_FILE}`;
  await writeFile(partial, JSON.stringify({ fingerprint, responses } satisfies KeptSamples), { flush: true });
  await rename(partial, file);
  return responses;
}
