import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Estimate } from './confidence-interval.ts';
import type { Evaluation, SampleEvaluation } from './evaluation.ts';
import { decideGate, findNonFinite, type GateBounds } from './gate.ts';

const bounds: GateBounds = { gate_kl: 50, gate_chosen_drop: 0.3, gate_length: 1.5, gate_repetition: 0.1 };

/** Twelve pairs on as many prompts, with this mean loss and log-probability per token of the chosen responses. */
function evaluation(loss: number, { chosen = -1, noise = 0, prompts = 12, metrics = {} } = {}): Evaluation {
  const pairs = Array.from({ length: 12 }, (_, i) => i);
  const difficulty = (i: number) => Math.sin(5 * i);
  return {
    metrics: { loss, ...metrics },
    intervals: {},
    logps: { chosen: pairs.map((i) => chosen + difficulty(i)), rejected: pairs.map(() => -2) },
    outcomes: pairs.map((i) => ({
      loss: loss + 5 * difficulty(i) + noise * Math.cos(3 * i),
      chosenLogRatio: 0,
      rejectedLogRatio: 0,
      chosenLogp: -9,
      rejectedLogp: -9,
    })),
    prompts: pairs.map((i) => String(i % prompts)),
  };
}

const about = (value: number): Estimate => ({ value, interval: { low: value - 0.01, high: value + 0.01 } });

function samples({ kl = 1, length = 1.1, repetition = 0.01 } = {}): SampleEvaluation {
  const completions = { 'completions/mean_length': 20, 'completions/repetition': 0.1 };
  return {
    metrics: { 'objective/kl': kl, ...completions },
    parent: completions,
    kl: about(kl),
    klPerToken: about(kl / 20),
    lengthRatio: about(length),
    repetitionGrowth: about(repetition),
    sampleCount: 64,
  };
}

test('a policy that is significantly better and within all bounds passes, with every check reported', () => {
  const decision = decideGate(evaluation(-0.5), evaluation(-0.6, { noise: 0.05 }), samples(), bounds);
  assert.equal(decision.pass, true);
  assert.match(decision.reason, /gate: better than its parent: the held-out loss went from -0\.50000 to -0\.60000/);
  assert.match(decision.reason, /over 12 pairs on 12 prompts; KL to the reference is 1\.00 \[0\.99, 1\.01\] nats/);
  assert.deepEqual(
    decision.checks.map(({ name, pass }) => [name, pass]),
    ['improvement', 'kl', 'chosen_drop', 'length', 'repetition'].map((name) => [name, true]),
  );
  const [improvement] = decision.checks;
  assert.ok(Math.abs(improvement!.measured! - 0.1) < 0.03);
  assert.ok(improvement!.interval!.low > 0);
});

test('pairs that are hard for both policies do not hide an improvement, because pairs are compared one by one', () => {
  // The losses of pairs lie 10 apart, the improvement is a thousandth.
  assert.equal(decideGate(evaluation(-0.5), evaluation(-0.501), samples(), bounds).pass, true);
});

test('an improvement that is not significant is refused, with the advice to collect more pairs', () => {
  const decision = decideGate(evaluation(-0.5), evaluation(-0.6, { noise: 1 }), samples(), bounds);
  assert.equal(decision.pass, false);
  const [{ measured, interval, bound }] = decision.checks as [(typeof decision.checks)[number]];
  assert.ok(measured! > 0 && interval!.low < 0 && bound === 0);
  assert.match(decision.reason, /^gate: refused: not significantly better than its parent: .*; collect more pairs$/);
});

test('a candidate equal to its parent and a worse one are refused as no better', () => {
  for (const loss of [-0.5, -0.4]) {
    const decision = decideGate(evaluation(-0.5), evaluation(loss), samples(), bounds);
    assert.equal(decision.pass, false);
    assert.match(decision.reason, /no better than its parent: .*from -0\.50000/);
  }
});

test('fewer than six held-out prompts never pass', () => {
  const decision = decideGate(evaluation(-0.5, { prompts: 5 }), evaluation(-9, { prompts: 5 }), samples(), bounds);
  assert.equal(decision.pass, false);
  assert.match(decision.reason, /too few prompts .* 12 pairs on 5 prompts; collect more pairs on other prompts/);
});

const VIOLATIONS: [name: string, candidate: Evaluation, sampled: SampleEvaluation, reason: RegExp][] = [
  ['kl', evaluation(-0.6), samples({ kl: 51 }), /KL .* 51\.00 .*above 50; lower LEARNING_RATE or raise GATE_KL/],
  [
    'chosen_drop',
    evaluation(-0.6, { chosen: -1.31 }),
    samples(),
    /fell by 0\.310 .*more than 0\.3; .*GATE_CHOSEN_DROP/,
  ],
  ['length', evaluation(-0.6), samples({ length: 1.51 }), /1\.51 .* times as long .*factor of 1\.5; .*GATE_LENGTH/],
  ['length', evaluation(-0.6), samples({ length: 0.66 }), /0\.66 .* times as long .*factor of 1\.5; .*GATE_LENGTH/],
  ['repetition', evaluation(-0.6), samples({ repetition: 0.11 }), /4-grams .* 0\.110 .*than 0\.1; .*GATE_REPETITION/],
];
for (const [name, candidate, sampled, reason] of VIOLATIONS) {
  test(`a better policy that violates the bound of ${name} is refused by that check: ${reason}`, () => {
    const decision = decideGate(evaluation(-0.5), candidate, sampled, bounds);
    assert.equal(decision.pass, false);
    assert.deepEqual(
      decision.checks.filter(({ pass }) => !pass).map((check) => check.name),
      [name],
    );
    assert.match(decision.reason, reason);
  });
}

test('a refusal names every check that failed', () => {
  const sampled = samples({ kl: 200, length: 3, repetition: 0.8 });
  const { reason } = decideGate(evaluation(-0.5), evaluation(-0.4, { chosen: -4 }), sampled, bounds);
  for (const advice of ['no better than', 'GATE_KL', 'GATE_CHOSEN_DROP', 'GATE_LENGTH', 'GATE_REPETITION'])
    assert.ok(reason.includes(advice), `${advice}: ${reason}`);
});

test('a policy that diverged is refused without samples, and the reason names the metric', () => {
  const diverged = evaluation(Number.NaN);
  assert.deepEqual(findNonFinite(diverged), ['loss', Number.NaN]);
  assert.match(
    decideGate(evaluation(-0.5), diverged, null, bounds).reason,
    /loss on held-out pairs is NaN; .*LEARNING_RATE/,
  );
  const infinite = evaluation(-0.6, { metrics: { 'rewards/chosen': Number.NEGATIVE_INFINITY } });
  assert.match(
    decideGate(evaluation(-0.5), infinite, null, bounds).reason,
    /rewards\/chosen on held-out pairs is -Infinity/,
  );
  const sampled = samples({ kl: Number.NaN });
  assert.match(decideGate(evaluation(-0.5), evaluation(-0.6), sampled, bounds).reason, /objective\/kl .* is NaN/);
  assert.throws(() => decideGate(evaluation(-0.5), evaluation(-0.6), null, bounds), /internal: gate/);
});
