// All runs of the online study. Each is cached under the digest of everything that it depends on, so that an interrupted
// study resumes, and several processes can each compute a part of it.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { sha256 } from '../../../shared/digest.ts';
import { openProgress } from '../../report/progress.ts';
import type { ResultCache } from '../result-cache.ts';
import { type BestOfRun, runBestOf } from './best-of.ts';
import {
  type BestOfSpec,
  describeMethod,
  type OnlineRunSpec,
  type OnlineSizes,
  onlineSizes,
  type Plan,
} from './config.ts';
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
  const specs = plan.specs.filter((_, at) => at % shard.of === shard.part - 1);
  const nameOf = (spec: OnlineRunSpec) =>
    `online ${describeMethod(spec)} ${spec.taste} ${spec.learningRate} ${spec.seed}`;
  const options = { checkpoint, specs, sizes: plan.sizes, threads, label: plan.name, nameOf, run: runLoop };
  return { plan, ...(await runSpecs<OnlineRunSpec, OnlineRun>(cache, options, log)) };
}

export type BestOfStudy = { runs: BestOfRun[]; missing: BestOfSpec[] };

/** Best-of-n by each ranker, trained on the pairs of a first round. */
export function runBestOfStudy(
  cache: ResultCache,
  checkpoint: string,
  specs: readonly BestOfSpec[],
  threads: number,
  log: (line: string) => void,
): Promise<BestOfStudy> {
  const nameOf = ({ ranker, taste, learningRate, seed }: BestOfSpec) =>
    `best of ${ranker} ${taste} ${learningRate} ${seed}`;
  const options = { checkpoint, specs, sizes: onlineSizes, threads, label: 'best of n', nameOf, run: runBestOf };
  return runSpecs<BestOfSpec, BestOfRun>(cache, options, log);
}

/** Every run that is cached or can be computed; the world is opened for the first that must be. */
async function runSpecs<Spec, Run>(
  cache: ResultCache,
  {
    checkpoint,
    specs,
    sizes,
    threads,
    label,
    nameOf,
    run,
  }: {
    checkpoint: string;
    specs: readonly Spec[];
    sizes: OnlineSizes;
    threads: number;
    label: string;
    nameOf(spec: Spec): string;
    run(world: World, spec: Spec): Promise<Run>;
  },
  log: (line: string) => void,
): Promise<{ runs: Run[]; missing: Spec[] }> {
  const digest = sha256(await readFile(path.join(checkpoint, 'model.safetensors')));
  const study: { runs: Run[]; missing: Spec[] } = { runs: [], missing: [] };
  let world: World | null = null;
  const bar = openProgress(`online study: ${label}`, 'runs', specs.length, log);
  try {
    for (const spec of specs) {
      const result = await cache.getOrCompute(nameOf(spec), [digest, sizes, spec], async () => {
        world ??= await World.open(checkpoint, sizes, threads);
        return run(world, spec);
      });
      if (result) study.runs.push(result);
      else study.missing.push(spec);
      bar.set(study.runs.length + study.missing.length, nameOf(spec));
    }
    return study;
  } finally {
    bar.stop();
    await (world as World | null)?.close();
  }
}
