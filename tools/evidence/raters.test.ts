import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RaterStudyConfig, raterStudyConfig } from './config.ts';
import { chosenDistribution, createRaterTask, klDivergence, tiltedDistribution, trainOnRaters } from './raters.ts';

const reference = [0.5, 0.3, 0.2];
const rewards = [-1, 0.5, 2];

function assertNear(actual: number[], expected: number[], tolerance = 1e-12): void {
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(actual[i]! - value) < tolerance, `${actual} is not ${expected}`);
}

test('the chosen distribution is the sum over all pairs and votes', () => {
  const counted = [0, 0, 0];
  for (const [y, p] of reference.entries())
    for (const [z, q] of reference.entries()) {
      const wins = Math.exp(rewards[y]!) / (Math.exp(rewards[y]!) + Math.exp(rewards[z]!));
      counted[y]! += p * q * wins;
      counted[z]! += p * q * (1 - wins);
    }
  assertNear(chosenDistribution(reference, rewards), counted);
});

test('chosen and rejected responses together are distributed as the reference', () => {
  const chosen = chosenDistribution(reference, rewards);
  const rejected = chosenDistribution(
    reference,
    rewards.map((reward) => -reward),
  );
  assertNear(
    chosen.map((p, i) => (p + rejected[i]!) / 2),
    reference,
  );
});

test("DPO's optimum has log-ratio differences equal to reward differences over β", () => {
  const tilted = tiltedDistribution(reference, rewards, 0.5);
  const ratios = tilted.map((p, i) => Math.log(p / reference[i]!));
  assertNear([ratios[1]! - ratios[0]!, ratios[2]! - ratios[1]!], [3, 3]);
  assertNear([tilted.reduce((sum, p) => sum + p)], [1]);
});

const small: RaterStudyConfig = {
  ...raterStudyConfig,
  vocabSize: 4,
  responseTokens: 2,
  prompts: 2,
  steps: 60,
  batchPairs: 32,
  evaluations: 2,
  learningRate: 3e-3,
};

test('all responses are enumerated, and their rewards have the configured standard deviation', async () => {
  const { prompts, rewards: all } = await createRaterTask(small);
  assert.equal(prompts.length, 2);
  for (const [i, { sequences, reference: p }] of prompts.entries()) {
    assert.equal(sequences.length, 16);
    // Probabilities sum to 1 in single precision.
    assertNear([p.reduce((sum, value) => sum + value)], [1], 1e-5);
    const mean = all[i]!.reduce((sum, r, y) => sum + r * p[y]!, 0);
    const variance = all[i]!.reduce((sum, r, y) => sum + p[y]! * (r - mean) ** 2, 0);
    assertNear([mean, Math.sqrt(variance)], [0, small.rewardStd], 1e-5);
  }
});

test('lsif training approaches the chosen distribution, and dpo with a small β overshoots it', async () => {
  const task = await createRaterTask(small);
  const find = (name: string) => small.methods.find((method) => method.name === name)!;
  const run = (name: string) => trainOnRaters(task, small, { method: find(name), seed: 1 }, () => {});
  const [lsif, dpo] = [await run('lsif'), await run('dpo β 0.1')];
  const [start] = lsif.evaluations;
  const chosen = task.prompts.map(({ chosen: p, reference: q }) => klDivergence(p, q));
  assertNear([start!.forward], [(chosen[0]! + chosen[1]!) / 2], 1e-5);
  assert.ok(
    lsif.evaluations.at(-1)!.forward < 0.6 * start!.forward,
    `lsif: ${lsif.evaluations.map(({ forward }) => forward)}`,
  );
  assert.ok(
    dpo.evaluations.at(-1)!.forward > 2 * start!.forward,
    `dpo: ${dpo.evaluations.map(({ forward }) => forward)}`,
  );
});
