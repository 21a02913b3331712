import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import type { TrainPair } from '../../trainer/engine/engine.ts';
import { openEngine } from '../../trainer/engine/open-engine.ts';
import { METHODS, preferenceStudyConfig } from './config.ts';
import { trainMethod } from './training-run.ts';

const architecture = tinyArchitecture({ vocabSize: 12, contextLength: 32 });
const weights = tinyWeights(architecture, 1);
const config = {
  ...preferenceStudyConfig,
  architecture,
  trainPairs: 12,
  batchPairs: 4,
  evaluations: 3,
  kl: { samples: 4, maxTokens: 6 },
};
const [method] = METHODS;

test('a run evaluates at step 0 and after its steps, and its result depends on its seed alone', async () => {
  const open = () => openEngine({ architecture, weights, objective: method!.objective, threads: 1 });
  const reference = await open();
  try {
    const pairs = Array.from({ length: 24 }, (_, i) => ({
      chosen: { promptIds: [1, 3 + (i % 4)], responseIds: [3, 4, 5 + (i % 5)] },
      rejected: { promptIds: [1, 3 + (i % 4)], responseIds: [8, 9 + (i % 3)] },
    }));
    const scores = await reference.score(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]));
    const scored: TrainPair[] = pairs.map((pair, i) => ({
      ...pair,
      refChosenLogps: scores[2 * i]!,
      refRejectedLogps: scores[2 * i + 1]!,
    }));
    const splits = { train: scored.slice(0, 18), heldOut: scored.slice(18) };
    const run = async (seed: number) => {
      const engine = await open();
      const steps: number[] = [];
      try {
        const spec = { method: method!, learningRate: 1e-3, seed };
        const found = await trainMethod(engine, reference, splits, config, spec, (step) => steps.push(step));
        return { ...found, steps };
      } finally {
        await engine.close();
      }
    };
    const [one, again, other] = [await run(1), await run(1), await run(2)];
    assert.deepEqual(one.steps, [1, 2, 3]);
    assert.deepEqual(
      one.evaluations.map(({ step }) => step),
      [0, 1, 2, 3],
    );
    assert.equal(one.evaluations[0]!.kl, null);
    assert.ok(one.evaluations[3]!.kl!.kl > 0);
    const expected = scored.slice(18).map(({ refChosenLogps }) => refChosenLogps.reduce((sum, logp) => sum + logp, 0));
    for (const [i, logp] of one.evaluations[0]!.chosen.entries())
      assert.ok(Math.abs(logp - expected[i]!) < 1e-4, `${logp} is not the reference's ${expected[i]}`);
    assert.deepEqual(again.evaluations, one.evaluations);
    assert.notDeepEqual(other.losses, one.losses);
  } finally {
    await reference.close();
  }
});
