import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TastePlan, tastePlan } from './plan.ts';
import { chosenDistribution, divergence, makeWorld, runTaste, tiltedDistribution } from './raters.ts';

const reference = [0.5, 0.3, 0.2];
const rewards = [-1, 0.5, 2];

function assertNear(actual: number[], expected: number[], tolerance = 1e-12): void {
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(actual[i]! - value) < tolerance, `${actual} is not ${expected}`);
}

test('the chosen distribution is what comes of every pair and every vote', () => {
  const counted = [0, 0, 0];
  for (const [y, p] of reference.entries())
    for (const [z, q] of reference.entries()) {
      const wins = Math.exp(rewards[y]!) / (Math.exp(rewards[y]!) + Math.exp(rewards[z]!));
      counted[y]! += p * q * wins;
      counted[z]! += p * q * (1 - wins);
    }
  assertNear(chosenDistribution(reference, rewards), counted);
});

test('chosen and rejected are half each of the reference', () => {
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

test("DPO's limit has log-ratios that differ as the rewards do, over β", () => {
  const tilted = tiltedDistribution(reference, rewards, 0.5);
  const ratios = tilted.map((p, i) => Math.log(p / reference[i]!));
  assertNear([ratios[1]! - ratios[0]!, ratios[2]! - ratios[1]!], [3, 3]);
  assertNear([tilted.reduce((sum, p) => sum + p)], [1]);
});

const small: TastePlan = {
  ...tastePlan,
  vocabulary: 4,
  length: 2,
  prompts: 2,
  steps: 60,
  batchPairs: 32,
  looks: 2,
  learningRate: 3e-3,
};

test('every response of the world is listed, and its rewards have the spread that was asked for', async () => {
  const { prompts, rewards: all } = await makeWorld(small);
  assert.equal(prompts.length, 2);
  for (const [i, { sequences, reference: p }] of prompts.entries()) {
    assert.equal(sequences.length, 16);
    // What the engine gives all of them is one whole, in single precision.
    assertNear([p.reduce((sum, value) => sum + value)], [1], 1e-5);
    const mean = all[i]!.reduce((sum, r, y) => sum + r * p[y]!, 0);
    const variance = all[i]!.reduce((sum, r, y) => sum + p[y]! * (r - mean) ** 2, 0);
    assertNear([mean, Math.sqrt(variance)], [0, small.spread], 1e-5);
  }
});

test('with the engine, lsif comes nearer to what raters choose, and dpo at a small β goes far beyond', async () => {
  const world = await makeWorld(small);
  const find = (name: string) => small.contenders.find((contender) => contender.name === name)!;
  const run = (name: string) => runTaste(world, small, { contender: find(name), seed: 1 }, () => {});
  const [lsif, dpo] = [await run('lsif'), await run('dpo β 0.1')];
  const [start] = lsif.looks;
  const chosen = world.prompts.map(({ chosen: p, reference: q }) => divergence(p, q));
  assertNear([start!.forward], [(chosen[0]! + chosen[1]!) / 2], 1e-5);
  assert.ok(lsif.looks.at(-1)!.forward < 0.6 * start!.forward, `lsif: ${lsif.looks.map(({ forward }) => forward)}`);
  assert.ok(dpo.looks.at(-1)!.forward > 2 * start!.forward, `dpo: ${dpo.looks.map(({ forward }) => forward)}`);
});
