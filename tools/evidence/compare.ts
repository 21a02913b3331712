// All runs on real preferences: every objective at the common learning rate with each seed, then one seed at each of the
// other rates, then the variants. What is kept from an earlier run is not computed again.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { DEFAULT_CHECKPOINT, writeDefaultCheckpoint } from '../../shared/publish/convert-llama2c.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { openProgress } from '../demo/progress.ts';
import type { Archive } from './archive.ts';
import { type Material, readMaterial } from './pairs.ts';
import type { Contender, StudyPlan } from './plan.ts';
import { School } from './school.ts';
import { type Run, runContender } from './study.ts';

export type Study = {
  plan: StudyPlan;
  /** The file's name, without its folder. */
  file: string;
  counts: Material['counts'] & { train: number; heldOut: number };
  /** Response tokens of each held-out pair. */
  lengths: { chosen: number[]; rejected: number[] };
  runs: Run[];
  /** Runs that are not done yet, by name: only where nothing may be computed. */
  missing: string[];
};

type Job = Pick<Run, 'contender' | 'learningRate' | 'seed'> & { looks: number };

export async function studyPairs(
  archive: Archive,
  file: string,
  plan: StudyPlan,
  log: (line: string) => void,
): Promise<Study> {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-evidence-'));
  try {
    await writeDefaultCheckpoint(folder);
    const checkpoint = await readCheckpoint(folder);
    const { architecture } = checkpoint;
    const material = await readMaterial(file, await Tokenizer.open(folder), architecture, plan);
    const school = new School(checkpoint, material, plan, archive, folder, log);
    const runs: Run[] = [];
    const missing: string[] = [];
    try {
      const jobs = listJobs(plan);
      for (const [at, job] of jobs.entries()) {
        const { contender, learningRate, seed } = job;
        const name = `${contender.name}, rate ${learningRate}, seed ${seed}`;
        const decisive = [DEFAULT_CHECKPOINT.source, material.digest, costOf(plan), job];
        const run = await archive.recall(name, decisive, async () => {
          log(`Run ${at + 1} of ${jobs.length}`);
          const { engine, reference, pairs } = await school.begin(contender);
          const bar = openProgress(name, 'steps', Math.ceil(plan.trainPairs / plan.batchPairs), log);
          try {
            return await runContender(
              engine,
              reference,
              pairs,
              { ...plan, looks: job.looks, architecture },
              job,
              bar.set,
            );
          } finally {
            bar.stop();
          }
        });
        if (run) runs.push(run);
        else missing.push(name);
      }
    } finally {
      await school.close();
    }
    const absent = plan.contenders.find((contender) => !runs.some((run) => isCommon(run, contender, plan)));
    if (absent)
      throw new AttuneError(
        `evidence: no run of ${absent.name} is in ${archive.folder} for these pairs and settings; leave --page-only out and it is computed`,
        { code: 'nothing_kept' },
      );
    const { heldOut, counts, train } = material;
    return {
      plan,
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

/** The common learning rate first. */
function listJobs({ seeds, contenders, variants, learningRate, otherRates, looks }: StudyPlan): Job[] {
  const first = seeds.slice(0, 1);
  const jobs = (among: StudyPlan['contenders'], rates: number[], from: number[], looks: number): Job[] =>
    // One objective after the other, because its engine is opened once for all of its runs.
    among.flatMap((contender) =>
      rates.flatMap((learningRate) => from.map((seed) => ({ contender, learningRate, seed, looks }))),
    );
  return [
    ...jobs(contenders, [learningRate], seeds, looks),
    ...jobs(variants, [learningRate], first, 1),
    ...jobs(contenders, otherRates, first, 1),
  ];
}

const isCommon = (run: Run, { name }: Contender, { learningRate }: StudyPlan) =>
  run.contender.name === name && run.learningRate === learningRate;

/** The part of the plan that every run depends on; which runs there are is none of a run's business. */
function costOf(plan: StudyPlan): Partial<StudyPlan> {
  const { preparePairs, prepareRate, trainPairs, heldOutPairs, batchPairs, maxLength, kl } = plan;
  return { preparePairs, prepareRate, trainPairs, heldOutPairs, batchPairs, maxLength, kl };
}
