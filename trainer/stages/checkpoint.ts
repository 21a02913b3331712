// The checkpoint of a round on disk: the engine's weights and moments, and the progress of the training. The index
// file that names them is renamed into place last, so that a kill at any moment leaves the old checkpoint or the new one.
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readJson } from '../../shared/model/checkpoint.ts';
import type { Engine } from '../engine/engine.ts';
import { SAMPLES_FILE } from './kept-samples.ts';

export type TrainingProgress = {
  step: number;
  tokens: number;
  seconds: number;
  /** On the held-out pairs that are evaluated during training; null before the first evaluation. */
  bestLoss: number | null;
  bestStep: number | null;
  evaluationsSinceBest: number;
};
type CheckpointIndex = { fingerprint: string; progress: TrainingProgress; last: string; best: string | null };

export type Checkpoint = {
  /** The progress that the engine was restored to; null if training starts from step 0. */
  resumed: TrainingProgress | null;
  save(progress: TrainingProgress, as?: 'best'): Promise<void>;
  /** The file of the best weights. */
  bestFile(): string;
};

const INDEX = 'checkpoint.json';

/** `fingerprint` is a digest of everything that determines the steps; a checkpoint with another one is not resumed. */
export async function openCheckpoint(folder: string, fingerprint: string, engine: Engine): Promise<Checkpoint> {
  await mkdir(folder, { recursive: true });
  const found = await readIndex(folder);
  let index = found?.fingerprint === fingerprint ? found : null;
  if (index) await engine.restore(path.join(folder, index.last));
  await removeUnreferenced(folder, index);
  return {
    resumed: index?.progress ?? null,
    async save(progress, as) {
      const file = `step-${progress.step}.safetensors`;
      if (file !== index?.last) await engine.save(path.join(folder, file));
      index = { fingerprint, progress, last: file, best: as === 'best' ? file : (index?.best ?? null) };
      const partial = path.join(folder, `${INDEX}.partial`);
      await writeFile(partial, JSON.stringify(index), { flush: true });
      await rename(partial, path.join(folder, INDEX));
      await removeUnreferenced(folder, index);
    },
    bestFile() {
      if (!index?.best) throw new Error('internal: checkpoint: no best weights were saved');
      return path.join(folder, index.best);
    },
  };
}

async function readIndex(folder: string): Promise<CheckpointIndex | null> {
  // The rename makes a partial file impossible; an unreadable one counts as none.
  return (await readJson(path.join(folder, INDEX), INDEX).catch(() => undefined)) as CheckpointIndex | null;
}

async function removeUnreferenced(folder: string, index: CheckpointIndex | null): Promise<void> {
  const referenced = new Set([INDEX, index?.last, index?.best]);
  for (const name of await readdir(folder))
    if (!referenced.has(name) || !index) await rm(path.join(folder, name), { force: true });
}

/**
 * Makes the furthest checkpoint of the round's earlier trainers that of `folder`, its new trainer's. An earlier one that
 * is still running finds that its folder is gone, and cannot mix its files with the new ones. A distillation's samples stay.
 */
export async function adoptCheckpoint(folder: string): Promise<void> {
  const roundFolder = path.dirname(folder);
  const names = (await listFolder(roundFolder)).filter(
    (name) => name !== path.basename(folder) && name !== SAMPLES_FILE,
  );
  let furthest = { step: -1, name: '' };
  for (const name of names) {
    const step = (await readIndex(path.join(roundFolder, name)))?.progress.step ?? -1;
    if (step > furthest.step) furthest = { step, name };
  }
  if (furthest.name) await rename(path.join(roundFolder, furthest.name), folder);
  for (const name of names) await rm(path.join(roundFolder, name), { recursive: true, force: true });
}

/** Removes the folders of rounds that have ended, except that of `current`: they may have samples of erased prompts. */
export async function removeRounds(folder: string, current?: string): Promise<void> {
  for (const name of await listFolder(folder))
    if (name !== current) await rm(path.join(folder, name), { recursive: true, force: true });
}

function listFolder(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
