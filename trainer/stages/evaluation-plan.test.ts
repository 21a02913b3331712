import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sequence } from '../engine/engine.ts';
import { planEvaluations, spreadEvaluations } from './evaluation-plan.ts';

const sequence: Sequence = { promptIds: Array<number>(20).fill(1), responseIds: Array<number>(80).fill(2) };
const makePairs = (count: number) => Array.from({ length: count }, () => ({ chosen: sequence, rejected: sequence }));

function plan(train: number, heldOut: number, { effort = 1, epochs = 1 } = {}) {
  const options = { train: makePairs(train), heldOut: makePairs(heldOut), config: { effort, epochs } };
  const steps = (epochs * train) / 8;
  const { count, pairs, samples, klSamples } = planEvaluations(options, steps);
  return { steps: [...spreadEvaluations(count, steps)], pairs, samples, klSamples };
}

/** In tokens of a forward pass, of training and evaluation together. */
function shareOf(train: number, heldOut: number, { steps, pairs, samples, klSamples }: ReturnType<typeof plan>) {
  const pair = 2 * 99;
  const evaluation = 2 * heldOut * pair + steps.length * pairs * pair + samples * (2 * (20 + 3 * 80) + 2 * 100);
  const kl = Math.max(0, steps.length - 1) * klSamples * (20 + 3 * 80 + 2 * 100);
  const total = 3 * train * pair + evaluation;
  return { evaluation: evaluation / total, kl: kl / (total + kl) };
}

test('evaluation takes at most a fifth, spread evenly up to the last step, and the KL a twentieth', () => {
  for (const [train, heldOut] of [
    [479, 121],
    [800, 200],
    [3276, 500],
  ] as const) {
    const planned = plan(train, heldOut);
    const share = shareOf(train, heldOut, planned);
    assert.ok(share.evaluation <= 0.2, `${train}: ${share.evaluation}`);
    assert.ok(share.kl > 0 && share.kl <= 0.05, `${train}: ${share.kl}`);
    assert.ok(planned.samples >= 16);
  }
  assert.deepEqual(plan(3200, 300), { steps: [100, 200, 300, 400], pairs: 300, samples: 64, klSamples: 8 });
});

test('with less to spend there are fewer samples, pairs and evaluations, but what the gate needs stays', () => {
  const plans = [3276, 800, 479, 200, 60].map((train) => plan(train, train / 4));
  for (const figure of ['pairs', 'samples'] as const) {
    const values = plans.map((each) => each[figure]);
    assert.deepEqual(
      values,
      values.toSorted((a, b) => b - a),
    );
  }
  assert.deepEqual(plan(60, 15), { steps: [], pairs: 15, samples: 16, klSamples: 0 });
});

test('effort multiplies evaluations and samples where there is time for them', () => {
  const more = plan(3200, 300, { effort: 2, epochs: 2 });
  assert.equal(more.samples, 128);
  assert.equal(more.steps.length, 8);
});

test('without held-out pairs nothing is evaluated', () => {
  assert.deepEqual(plan(80, 0), { steps: [], pairs: 0, samples: 0, klSamples: 0 });
});
