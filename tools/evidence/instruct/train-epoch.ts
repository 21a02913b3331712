// One epoch over the study's pairs, by the trainer's own loop or by TRL's DPOTrainer. Both return the seconds it took.
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Engine } from '../../../trainer/engine/engine.ts';
import { Cache } from '../../bench/cache.ts';
import { findPython, TRAIN_ENV } from '../../bench/python.ts';
import { runTrainingPeer } from '../../bench/run-training-peer.ts';
import type { OnlineMethod } from '../online/config.ts';
import { trainQuietly } from '../train-quietly.ts';
import type { InstructConfig } from './config.ts';
import type { InstructPair } from './pairs.ts';
import type { ScoredSplits } from './scored-pairs.ts';

export type InstructOptions = { checkpoint: string; pairs: string[]; benchCache: string; threads: number };

/** An epoch of a few hundred pairs takes half an hour on two cores. */
const TRL_TIMEOUT_MS = 3 * 3_600_000;

export async function trainEpoch(
  engine: Engine,
  method: OnlineMethod,
  learningRate: number,
  { train, validation }: ScoredSplits,
  { batchPairs, seed }: InstructConfig,
  folder: string,
  log: (line: string) => void,
): Promise<number> {
  const { objective, reduction, negatives, reference, weighting, beta } = method;
  const request = { objective, reduction, negatives, reference, weighting, beta, learning_rate: learningRate };
  const startedAt = performance.now();
  let reportedAt = startedAt;
  const roundFolder = await mkdtemp(path.join(folder, 'round-'));
  try {
    await trainQuietly(
      engine,
      { train, heldOut: validation },
      { ...request, batch_pairs: batchPairs, early_stopping: 0, seed },
      roundFolder,
      (_stage, done, total, note) => {
        if (performance.now() - reportedAt < 30_000) return;
        reportedAt = performance.now();
        log(`  ${done}/${total} steps, ${note}`);
      },
    );
  } finally {
    // Checkpoints of several gigabytes.
    await rm(roundFolder, { recursive: true, force: true });
  }
  return (performance.now() - startedAt) / 1000;
}

export function trainWithTrl(
  pairs: InstructPair[],
  learningRate: number,
  { batchPairs, seed }: InstructConfig,
  { checkpoint, benchCache, threads }: InstructOptions,
  folder: string,
): Promise<{ seconds: number }> {
  const python = findPython(new Cache(benchCache, () => {}), TRAIN_ENV)!;
  return runTrainingPeer(
    { script: 'trl-dpo.py', python },
    {
      source: path.resolve(checkpoint),
      folder,
      threads,
      batchPairs,
      seed,
      learningRate,
      texts: pairs.map(({ text }) => text),
      pairs: pairs.map(({ chosen, rejected }) => ({
        prompt: chosen.promptIds,
        chosen: chosen.responseIds,
        rejected: rejected.responseIds,
      })),
    },
    TRL_TIMEOUT_MS,
  );
}
