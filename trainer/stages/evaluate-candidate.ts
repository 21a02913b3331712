// What a round has trained, looked at from all sides and judged: on held-out pairs, and on what it writes by itself.
// Everything that the gate saw is written to the round, so that a refusal can be understood.
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';
import { type Evaluation, evaluatePolicy, evaluateSamples, type SampleEvaluation } from '../evaluation/evaluation.ts';
import { findBroken, judge, type Verdict } from '../evaluation/gate.ts';
import { type Course, openPolicy } from './context.ts';
import { finite } from './log.ts';

/** `before` is of the parent, `steps` is how far the engine has gone from it. */
export async function examine(
  course: Course,
  engine: Engine,
  heldOut: TrainPair[],
  before: Evaluation,
  steps: number,
): Promise<{ metrics: Record<string, number>; verdict: Verdict }> {
  const { record, how } = course;
  const after = await evaluatePolicy(engine, heldOut, how.seed);
  const samples = findBroken(after) ? null : await drawSamples(course, engine, heldOut);
  const metrics = finite({ ...after.metrics, ...samples?.metrics });
  await record.measure(steps, 'held_out', metrics, after.logps);
  const verdict = judge(before, after, samples, how, how.seed);
  const { pass, checks, reason } = verdict;
  await record.change({
    metrics: { ...prefix('parent/', finite({ ...before.metrics, ...samples?.parent })), ...metrics },
    reason,
    gate: { pass, checks, intervals: { ...prefix('parent/', before.intervals), ...after.intervals } },
  });
  await record.say('message', reason, { pass }, pass ? 'info' : 'warn');
  return { metrics, verdict };
}

async function drawSamples(course: Course, engine: Engine, heldOut: TrainPair[]): Promise<SampleEvaluation> {
  const { workshop, record, how, plan } = course;
  const { settings, shelf } = workshop;
  const folder = path.resolve(settings.ATTUNE_HOME, 'rounds', `${record.roundId}-samples`);
  try {
    return await evaluateSamples({
      architecture: plan.architecture,
      heldOut,
      engine,
      readParent: async () => (await readCheckpoint(await shelf.folderOf(plan.parent.id))).weights,
      openReference: () => openPolicy(course, plan.referenceId),
      effort: how.effort,
      seed: how.seed,
      threads: settings.TRAIN_THREADS,
      folder,
      onProgress: (done, total) => record.progress('evaluating', done, total, 'samples'),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function prefix<Value>(name: string, values: Record<string, Value>): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [name + key, value]));
}
