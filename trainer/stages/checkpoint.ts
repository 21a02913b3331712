// A round's state on disk: the engine's weights and moments, and how far the round had come. The small file that names
// the state is renamed into place after it, so a kill at any moment leaves the state before or the new one, never half.
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readJson } from '../../shared/model/checkpoint.ts';
import type { Engine } from '../engine/engine.ts';

/** How far a round has come. */
export type Place = {
  step: number;
  tokens: number;
  seconds: number;
  /** On the held-out pairs that are watched; null before the first look. */
  bestLoss: number | null;
  bestStep: number | null;
  /** Looks since then that found nothing better. */
  misses: number;
};
type Index = { plan: string; place: Place; last: string; best: string | null };

export type Checkpoint = {
  /** Where an earlier trainer of the same plan was; the engine is there now. */
  kept: Place | null;
  save(place: Place, as?: 'best'): Promise<void>;
  /** The file of the best state. */
  bestFile(): string;
};

const INDEX = 'place.json';

/** `plan` is a digest of all that decides what the steps do: a state of another plan is not gone on from. */
export async function openCheckpoint(folder: string, plan: string, engine: Engine): Promise<Checkpoint> {
  await mkdir(folder, { recursive: true });
  const read = await readIndex(folder);
  let index = read?.plan === plan ? read : null;
  if (index) await engine.restore(path.join(folder, index.last));
  await sweep(folder, index);
  return {
    kept: index?.place ?? null,
    async save(place, as) {
      const file = `step-${place.step}.safetensors`;
      if (file !== index?.last) await engine.save(path.join(folder, file));
      index = { plan, place, last: file, best: as === 'best' ? file : (index?.best ?? null) };
      const partial = path.join(folder, `${INDEX}.partial`);
      await writeFile(partial, JSON.stringify(index), { flush: true });
      await rename(partial, path.join(folder, INDEX));
      await sweep(folder, index);
    },
    bestFile() {
      if (!index?.best) throw new Error('internal: checkpoint: no state was the best one');
      return path.join(folder, index.best);
    },
  };
}

async function readIndex(folder: string): Promise<Index | null> {
  // Written whole or not at all; what cannot be read is as good as none.
  return (await readJson(path.join(folder, INDEX), INDEX).catch(() => undefined)) as Index | null;
}

/** Removes states that nothing names any more. */
async function sweep(folder: string, index: Index | null): Promise<void> {
  const named = new Set([INDEX, index?.last, index?.best]);
  for (const name of await readdir(folder))
    if (!named.has(name) || !index) await rm(path.join(folder, name), { force: true });
}

/** Removes what other rounds left: the state of one that failed is kept until the next one begins. */
export async function clearOthers(folder: string): Promise<void> {
  const parent = path.dirname(folder);
  for (const name of await readdir(parent).catch(() => []))
    if (name !== path.basename(folder)) await rm(path.join(parent, name), { recursive: true, force: true });
}
