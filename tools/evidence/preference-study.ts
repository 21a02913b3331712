// All training runs on real preferences: every method at the main learning rate with each seed, one seed at each other
// learning rate, and one of each ablation. Cached runs are not repeated.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { DEFAULT_CHECKPOINT, writeDefaultCheckpoint } from '../../shared/publish/convert-llama2c.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { openProgress } from '../report/progress.ts';
import type { Method, PreferenceStudyConfig } from './config.ts';
import { type PairSplits, readPairs } from './pairs.ts';
import type { ResultCache } from './result-cache.ts';
import { StudySetup } from './study-setup.ts';
import { type TrainingRun, trainMethod } from './training-run.ts';

export type PreferenceStudy = {
  config: PreferenceStudyConfig;
  /** Base name of the preference file. */
  file: string;
  counts: PairSplits['counts'] & { train: number; heldOut: number };
  /** Response tokens of each held-out pair. */
  lengths: { chosen: number[]; rejected: number[] };
  runs: TrainingRun[];
  /** Names of runs that a read-only cache does not have. */
  missing: string[];
};

type RunSpec = Pick<TrainingRun, 'method' | 'learningRate' | 'seed'> & { evaluations: number };

/** Throws AttuneError when a read-only cache lacks every main run of a method. */
export async function runPreferenceStudy(
  cache: ResultCache,
  file: string,
  config: PreferenceStudyConfig,
  log: (line: string) => void,
): Promise<PreferenceStudy> {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-evidence-'));
  try {
    await writeDefaultCheckpoint(folder);
    const checkpoint = await readCheckpoint(folder);
    const { architecture } = checkpoint;
    const splits = await readPairs(file, await Tokenizer.open(folder), architecture, config);
    const setup = new StudySetup(checkpoint, splits, config, cache, folder, log);
    const runs: TrainingRun[] = [];
    const missing: string[] = [];
    try {
      const specs = listRuns(config);
      for (const [index, spec] of specs.entries()) {
        const { method, learningRate, seed } = spec;
        const name = `${method.name}, rate ${learningRate}, seed ${seed}`;
        const cacheKey = [DEFAULT_CHECKPOINT.source, splits.digest, selectRunConfig(config), spec];
        const run = await cache.getOrCompute(name, cacheKey, async () => {
          log(`Run ${index + 1} of ${specs.length}`);
          const { engine, reference, pairs } = await setup.prepareRun(method);
          const bar = openProgress(name, 'steps', Math.ceil(config.trainPairs / config.batchPairs), log);
          try {
            const runConfig = { ...config, evaluations: spec.evaluations, architecture };
            return await trainMethod(engine, reference, pairs, runConfig, spec, bar.set);
          } finally {
            bar.stop();
          }
        });
        if (run) runs.push(run);
        else missing.push(name);
      }
    } finally {
      await setup.close();
    }
    const absent = config.methods.find((method) => !runs.some((run) => isMainRun(run, method, config)));
    if (absent)
      throw new AttuneError(
        `evidence: ${cache.folder} has no run of ${absent.name} for these pairs and this configuration; run without --page-only to train it`,
        { code: 'run_not_cached' },
      );
    const { heldOut, counts, train } = splits;
    return {
      config,
      file: path.basename(file),
      counts: { ...counts, train: train.length, heldOut: heldOut.length },
      lengths: {
        chosen: heldOut.map(({ chosen }) => chosen.responseIds.length),
        rejected: heldOut.map(({ rejected }) => rejected.responseIds.length),
      },
      runs,
      missing,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Main learning rate first. */
function listRuns(config: PreferenceStudyConfig): RunSpec[] {
  const { seeds, methods, variants, learningRate, otherLearningRates, evaluations } = config;
  const firstSeed = seeds.slice(0, 1);
  // Runs of one method are adjacent, so that its engine is opened once.
  const combine = (some: Method[], learningRates: number[], seeds: number[], evaluations: number): RunSpec[] =>
    some.flatMap((method) =>
      learningRates.flatMap((learningRate) => seeds.map((seed) => ({ method, learningRate, seed, evaluations }))),
    );
  return [
    ...combine(methods, [learningRate], seeds, evaluations),
    ...combine(variants, [learningRate], firstSeed, 1),
    ...combine(methods, otherLearningRates, firstSeed, 1),
  ];
}

const isMainRun = (run: TrainingRun, { name }: Method, { learningRate }: PreferenceStudyConfig) =>
  run.method.name === name && run.learningRate === learningRate;

/** The settings that a single run depends on: its cache key must not change with the list of runs. */
function selectRunConfig(config: PreferenceStudyConfig): Partial<PreferenceStudyConfig> {
  const { warmUpPairs, warmUpLearningRate, trainPairs, heldOutPairs, batchPairs, maxTokens, kl } = config;
  return { warmUpPairs, warmUpLearningRate, trainPairs, heldOutPairs, batchPairs, maxTokens, kl };
}
