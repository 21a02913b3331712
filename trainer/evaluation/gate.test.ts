import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Estimate } from '../../shared/statistics/confidence-interval.ts';
import type { Evaluation, SampleEvaluation } from './evaluation.ts';
import { decideGate, findNonFinite, type GateBounds } from './gate.ts';

const bounds: GateBounds = {
  objective: 'lsif',
  reduction: 'mean',
  gate_kl: 50,
  gate_chosen_drop: 0.3,
  gate_length: 1.5,
  gate_repetition: 0.1,
};

/**
 * Twelve pairs on as many prompts. `margin`: the nats by which the chosen responses gained more than the rejected ones
 * since a policy with margin 0; `chosen`: log-probability per token of the chosen responses.
 */
function evaluation(
  margin: number,
  { chosen = -1, noise = 0, prompts = 12, loss = -0.5, metrics = {} } = {},
): Evaluation {
  const pairs = Array.from({ length: 12 }, (_, i) => i);
  const difficulty = (i: number) => 50 * Math.sin(5 * i);
  return {
    metrics: { loss, ...metrics },
    intervals: {},
    logps: { chosen: pairs.map((i) => chosen + difficulty(i)), rejected: pairs.map(() => -2) },
    outcomes: pairs.map((i) => ({
      loss,
      chosenLogRatio: 0,
      rejectedLogRatio: 0,
      chosenLogp: -90 + difficulty(i),
      rejectedLogp: -90 + difficulty(i) - margin - noise * Math.cos(3 * i),
    })),
    prompts: pairs.map((i) => String(i % prompts)),
  };
}

const about = (value: number): Estimate => ({ value, interval: { low: value - 0.01, high: value + 0.01 } });

function samples({ kl = 1, length = 1.1, repetition = 0.01 } = {}): SampleEvaluation {
  const completions = { 'completions/mean_length': 20, 'completions/repetition': 0.1 };
  return {
    metrics: { 'objective/kl': kl, ...completions },
    baseline: completions,
    kl: about(kl),
    klPerToken: about(kl / 20),
    lengthRatio: about(length),
    repetitionGrowth: about(repetition),
    sampleCount: 64,
  };
}

test('a policy that is significantly better and within all bounds passes, with every check reported', () => {
  const decision = decideGate(evaluation(0), evaluation(1, { noise: 0.5, loss: -0.6 }), samples(), bounds);
  assert.equal(decision.pass, true);
  assert.match(
    decision.reason,
    /^gate: agrees with the raters more than the policy it would replace: bounded margin 0\.\d+ \[0\./,
  );
  assert.match(decision.reason, /over 12 pairs on 12 prompts \(margin 1\.\d+ \[.*\] nats, accuracy 100\.0% \[/);
  assert.match(
    decision.reason,
    /held-out loss from -0\.50000 to -0\.60000\); KL to the root is 1\.00 \[0\.99, 1\.01\]/,
  );
  assert.deepEqual(
    decision.checks.map(({ name, pass }) => [name, pass]),
    ['improvement', 'kl', 'chosen_drop', 'length', 'repetition'].map((name) => [name, true]),
  );
  const [improvement] = decision.checks;
  assert.ok(improvement!.measured! > 0 && improvement!.measured! < 1);
  assert.ok(improvement!.interval!.low > 0);
});

test('pairs that are hard for both policies do not hide an improvement, because pairs are compared one by one', () => {
  // The log-probabilities of pairs lie 50 apart, the margin is a thousandth.
  assert.equal(decideGate(evaluation(0), evaluation(0.001), samples(), bounds).pass, true);
});

test('the loss of the objective does not decide', () => {
  assert.equal(decideGate(evaluation(0), evaluation(1, { loss: 3 }), samples(), bounds).pass, true);
  assert.equal(decideGate(evaluation(0), evaluation(-1, { loss: -3 }), samples(), bounds).pass, false);
});

test('one pair with an enormous margin does not decide', () => {
  const candidate = evaluation(-1, { noise: 0.2 });
  candidate.outcomes[3]!.chosenLogp += 1e6;
  const { checks } = decideGate(evaluation(0), candidate, samples(), bounds);
  assert.ok(checks[0]!.measured! < 0, `${checks[0]!.measured}`);
});

test('a gain that is not significant is refused, with the number of pairs that would probably suffice', () => {
  const decision = decideGate(evaluation(0), evaluation(0.15, { noise: 1 }), samples(), bounds, { heldOutShare: 0.25 });
  assert.equal(decision.pass, false);
  const [{ measured, interval, bound, needed }] = decision.checks as [(typeof decision.checks)[number]];
  assert.ok(measured! > 0 && interval!.low < 0 && bound === 0);
  assert.ok(needed! > 12);
  assert.match(
    decision.reason,
    /^gate: refused: does not agree with the raters significantly more than the policy it would replace: /,
  );
  const missing = Math.ceil((needed! - 12) / 0.25);
  assert.ok(decision.reason.endsWith(`four times in five: collect about ${missing} more pairs on other prompts`));
});

test('where more prompts would be needed than a round evaluates, more pairs are not advised', () => {
  const decision = decideGate(evaluation(0), evaluation(0.02, { noise: 1 }), samples(), bounds);
  assert.ok(decision.checks[0]!.needed! > 512);
  assert.match(
    decision.reason,
    /would need \d+ held-out prompts, more than the 512 pairs that a round evaluates: raise/,
  );
});

test('a candidate equal to the baseline and a worse one are refused, and more pairs are not advised', () => {
  for (const margin of [0, -1]) {
    const { pass, reason, checks } = decideGate(evaluation(0), evaluation(margin), samples(), bounds);
    assert.equal(pass, false);
    assert.match(
      reason,
      /agrees with the raters no more than the policy it would replace: .*more pairs like these would probably not help/,
    );
    assert.equal(checks[0]!.needed, null);
  }
});

test('fewer than six held-out prompts never pass', () => {
  const decision = decideGate(evaluation(0, { prompts: 5 }), evaluation(9, { prompts: 5 }), samples(), bounds);
  assert.equal(decision.pass, false);
  assert.match(decision.reason, /too few prompts .* 12 pairs on 5 prompts .*; collect more pairs on other prompts/);
});

const VIOLATIONS: [name: string, candidate: Evaluation, sampled: SampleEvaluation, reason: RegExp][] = [
  ['kl', evaluation(1), samples({ kl: 51 }), /KL .* 51\.00 .*above 50; lower LEARNING_RATE or raise GATE_KL/],
  ['chosen_drop', evaluation(1, { chosen: -1.31 }), samples(), /fell by 0\.310 .*more than 0\.3; .*GATE_CHOSEN_DROP/],
  ['length', evaluation(1), samples({ length: 1.51 }), /1\.51 .* times as long .*factor of 1\.5; .*GATE_LENGTH/],
  ['length', evaluation(1), samples({ length: 0.66 }), /0\.66 .* times as long .*factor of 1\.5; .*GATE_LENGTH/],
  ['repetition', evaluation(1), samples({ repetition: 0.11 }), /4-grams .* 0\.110 .*than 0\.1; .*GATE_REPETITION/],
];
for (const [name, candidate, sampled, reason] of VIOLATIONS) {
  test(`a better policy that violates the bound of ${name} is refused by that check: ${reason}`, () => {
    const decision = decideGate(evaluation(0), candidate, sampled, bounds);
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
  const { reason } = decideGate(evaluation(0), evaluation(-1, { chosen: -4 }), sampled, bounds);
  for (const advice of ['no more than', 'GATE_KL', 'GATE_CHOSEN_DROP', 'GATE_LENGTH', 'GATE_REPETITION'])
    assert.ok(reason.includes(advice), `${advice}: ${reason}`);
});

test('a policy that diverged is refused without samples, and the reason names the metric', () => {
  const diverged = evaluation(1, { loss: Number.NaN });
  assert.deepEqual(findNonFinite(diverged), ['loss', Number.NaN]);
  assert.match(
    decideGate(evaluation(0), diverged, null, bounds).reason,
    /loss on held-out pairs is NaN; .*LEARNING_RATE/,
  );
  const infinite = evaluation(1, { metrics: { 'rewards/chosen': Number.NEGATIVE_INFINITY } });
  assert.match(
    decideGate(evaluation(0), infinite, null, bounds).reason,
    /rewards\/chosen on held-out pairs is -Infinity/,
  );
  const sampled = samples({ kl: Number.NaN });
  assert.match(decideGate(evaluation(0), evaluation(1), sampled, bounds).reason, /objective\/kl .* is NaN/);
  assert.throws(() => decideGate(evaluation(0), evaluation(1), null, bounds), /internal: gate/);
});
