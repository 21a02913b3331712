// All runs of the online study. Each is cached under the digest of everything that it depends on, so that an interrupted
// study resumes, and several processes can each compute a part of it.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { sha256 } from '../../../shared/digest.ts';
import { openProgress } from '../../report/progress.ts';
import type { ResultCache } from '../result-cache.ts';
import { type BestOfRun, runBestOf } from './best-of.ts';
import { type BestOfSpec, describeMethod, type OnlineRunSpec, onlineSizes, type Plan } from './config.ts';
import { type OnlineRun, runLoop } from './loop.ts';
import { World } from './world.ts';

export type OnlineStudy = { plan: Plan; runs: OnlineRun[]; missing: OnlineRunSpec[] };

export type StudyOptions = {
  /** Folder of the root policy in Hugging Face layout. */
  checkpoint: string;
  plan: Plan;
  /** Computes every `of`th run, beginning with the `part`th (from 1). */
  shard: { part: number; of: number };
  threads: number;
};

export async function runOnlineStudy(
  cache: ResultCache,
  { checkpoint, plan, shard, threads }: StudyOptions,
  log: (line: string) => void,
): Promise<OnlineStudy> {
  const digest = sha256(await readFile(path.join(checkpoint, 'model.safetensors')));
  const study: OnlineStudy = { plan, runs: [], missing: [] };
  const { sizes, specs } = plan;
  const own = specs.filter((_, at) => at % shard.of === shard.part - 1);
  let world: World | null = null;
  const bar = openProgress(`online study: ${plan.name}`, 'runs', own.length, log);
  try {
    for (const spec of own) {
      const name = `online ${describeMethod(spec)} ${spec.taste} ${spec.learningRate} ${spec.seed}`;
      const run = await cache.getOrCompute(name, [digest, sizes, spec], async () => {
        world ??= await World.open(checkpoint, sizes, threads);
        return runLoop(world, spec);
      });
      if (run) study.runs.push(run);
      else study.missing.push(spec);
      bar.set(study.runs.length, run ? `${name}: ${describeEnd(run)}` : '');
    }
    return study;
  } finally {
    bar.stop();
    await (world as World | null)?.close();
  }
}

export type BestOfStudy = { runs: BestOfRun[]; missing: BestOfSpec[] };

/** Best-of-n by each ranker, trained on the pairs of a first round. */
export async function runBestOfStudy(
  cache: ResultCache,
  checkpoint: string,
  specs: readonly BestOfSpec[],
  threads: number,
  log: (line: string) => void,
): Promise<BestOfStudy> {
  const digest = sha256(await readFile(path.join(checkpoint, 'model.safetensors')));
  const study: BestOfStudy = { runs: [], missing: [] };
  let world: World | null = null;
  const bar = openProgress('online study: best of n', 'runs', specs.length, log);
  try {
    for (const spec of specs) {
      const { ranker, taste, learningRate, seed } = spec;
      const name = `best of ${ranker} ${taste} ${learningRate} ${seed}`;
      const run = await cache.getOrCompute(name, [digest, onlineSizes, spec], async () => {
        world ??= await World.open(checkpoint, onlineSizes, threads);
        return runBestOf(world, spec);
      });
      if (run) study.runs.push(run);
      else study.missing.push(spec);
      bar.set(study.runs.length + study.missing.length, name);
    }
    return study;
  } finally {
    bar.stop();
    await (world as World | null)?.close();
  }
}

function describeEnd({ rounds }: OnlineRun): string {
  const last = rounds.at(-1)!;
  return `win rate ${(100 * last.winRate).toFixed(1)}%, KL ${last.kl.toFixed(2)}`;
}
