import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { writeTinyCheckpoint } from '../../../testing/tiny-checkpoint.ts';
import { mean } from '../../report/statistics.ts';
import { ResultCache } from '../result-cache.ts';
import { pickBest, runBestOf } from './best-of.ts';
import type { OnlineRunSpec } from './config.ts';
import { runLoop } from './loop.ts';
import { runOnlineStudy } from './study.ts';
import { World } from './world.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
await writeTinyCheckpoint(folder, { contextLength: 512 });
after(() => rm(folder, { recursive: true }));

const sizes = { trainPrompts: 160, heldOutPrompts: 64, evaluationPrompts: 48, maxTokens: 12, batchPairs: 8 };
const SPEC: OnlineRunSpec = {
  objective: 'dpo',
  reduction: 'sum',
  negatives: 'rejected',
  reference: 'root',
  weighting: 'none',
  beta: 0.1,
  taste: 'long',
  votes: 'taste',
  learningRate: 3e-3,
  replay: 0.5,
  rounds: 2,
  seed: 3,
};

test('two rounds with raters who like long responses move a policy away from the root and to longer texts', async () => {
  const world = await World.open(folder, sizes, 1);
  try {
    const run = await runLoop(world, SPEC);
    assert.equal(run.root.winRate, 0.5);
    assert.ok(Math.abs(run.root.kl) < 1e-6);
    const [first, second] = run.rounds;
    assert.ok(first!.heldOut.length > 0 && first!.heldOut.length <= sizes.heldOutPrompts);
    assert.ok(second!.pairs > first!.pairs, 'the second round replays pairs of the first');
    assert.ok(second!.kl > 0.01);
    // 0 is the root's; the standard error over 48 responses is 0.14.
    assert.ok(mean(second!.utilities) > 0.2, `${mean(second!.utilities)}`);
    const again = await runLoop(world, SPEC);
    const strip = ({ rounds }: typeof run) => rounds.map(({ seconds: _seconds, ...rest }) => rest);
    assert.deepEqual(strip(again), strip(run), 'the same seed gives the same run');
  } finally {
    await world.close();
  }
});

test('with the parent as the reference and with importance weights the first round is the same', async () => {
  const world = await World.open(folder, sizes, 1);
  try {
    const dil = { ...SPEC, objective: 'bce', negatives: 'both', replay: 0, rounds: 1 } as const;
    const measure = async (spec: Partial<OnlineRunSpec>) => (await runLoop(world, { ...dil, ...spec })).rounds[0]!.kl;
    const expected = await measure({});
    assert.ok(Math.abs((await measure({ reference: 'parent' })) - expected) < 1e-4);
    assert.ok(Math.abs((await measure({ weighting: 'importance' })) - expected) < 1e-3);
  } finally {
    await world.close();
  }
});

test('a study resumes from its cache, computes its part of the runs, and a read-only cache reports what is missing', async () => {
  const keep = path.join(folder, 'cache');
  const specs = [1, 2].map((seed) => ({ ...SPEC, replay: 0, rounds: 1, seed }));
  const plan = { name: 'methods' as const, sizes, specs };
  const study = (shard: { part: number; of: number }, readOnly = false) =>
    runOnlineStudy(new ResultCache(keep, { readOnly }), { checkpoint: folder, plan, shard, threads: 1 }, () => {});
  assert.deepEqual(
    (await study({ part: 2, of: 2 })).runs.map(({ spec }) => spec.seed),
    [2],
  );
  const cached = await study({ part: 1, of: 1 }, true);
  assert.deepEqual([cached.runs.length, cached.missing.map(({ seed }) => seed)], [1, [1]]);
});

test('distill trains a reward on the votes first, and moves the policy to what the reward likes', async () => {
  const world = await World.open(folder, sizes, 1);
  try {
    const run = await runLoop(world, {
      ...SPEC,
      objective: 'distill',
      beta: 0.3,
      rewardLearningRate: 1e-2,
      replay: 0,
      rounds: 2,
    });
    assert.ok(run.rounds[1]!.kl > 0.01);
    assert.ok(mean(run.rounds[1]!.utilities) > 0, `${mean(run.rounds[1]!.utilities)}`);
  } finally {
    await world.close();
  }
});

test('three votes on each comparison contradict each other, and dropping those leaves fewer pairs', async () => {
  const world = await World.open(folder, sizes, 1);
  try {
    const votes = { ...SPEC, replay: 0, rounds: 1, raters: 3 };
    const [kept, dropped] = [await runLoop(world, votes), await runLoop(world, { ...votes, contradictions: 'drop' })];
    assert.ok(kept.rounds[0]!.pairs > 2 * sizes.trainPrompts);
    assert.ok(dropped.rounds[0]!.pairs < kept.rounds[0]!.pairs);
  } finally {
    await world.close();
  }
});

test('best of n is the response with the highest score among the first n to each prompt', () => {
  const scores = [1, 5, 2, 9, 0, -3, -1, -2];
  assert.deepEqual(pickBest(scores, 4, 1), [0, 4]);
  assert.deepEqual(pickBest(scores, 4, 2), [1, 4]);
  assert.deepEqual(pickBest(scores, 4, 4), [3, 4]);
});

test('every ranker chooses among the same responses', async () => {
  const world = await World.open(folder, sizes, 1);
  try {
    const spec = { taste: 'long', seed: 3, learningRate: 3e-3 } as const;
    const policy = await runBestOf(world, { ...spec, ranker: 'log_ratio' });
    const reward = await runBestOf(world, { ...spec, ranker: 'density_ratio' });
    assert.deepEqual(
      policy.points.map(({ n, kl }) => [n, kl.toFixed(2)]),
      [
        [1, '0.00'],
        [2, '0.19'],
        [4, '0.64'],
        [8, '1.20'],
      ],
    );
    assert.deepEqual(reward.points[0], policy.points[0], 'of one response there is nothing to choose');
    for (const { accuracy } of [policy, reward]) assert.ok(accuracy >= 0 && accuracy <= 1);
  } finally {
    await world.close();
  }
});
