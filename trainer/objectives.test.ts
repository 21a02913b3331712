import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { AttuneError } from '../shared/error.ts';
import {
  cappedExp,
  cappedShares,
  type ObjectiveInput,
  pairLosses,
  parseObjective,
  parseRewardObjective,
} from './objectives.ts';

before(async () => {
  tf.env().set('IS_TEST', true);
  await tf.setBackend('cpu');
});

const unweighted = (pairs: number) => ({
  chosenImportance: tf.ones([pairs]) as tf.Tensor1D,
  rejectedImportance: tf.ones([pairs]) as tf.Tensor1D,
});

/** The loss of one pair and its derivatives by f_w and f_l. */
/** `request` has β 1 unless it sets another. */
function lossAndSlopes(request: ObjectiveInput, chosen: number, rejected: number, chosenLogp = -2) {
  const settings = parseObjective({ beta: 1, ...request });
  const loss = (c: tf.Tensor, r: tf.Tensor) =>
    pairLosses(settings, {
      chosen: c as tf.Tensor1D,
      rejected: r as tf.Tensor1D,
      chosenLogps: tf.tensor1d([chosenLogp]),
      ...unweighted(1),
    });
  const values = [tf.tensor1d([chosen]), tf.tensor1d([rejected])] as const;
  const value = loss(...values).dataSync()[0]!;
  if (request.objective === 'sft') return { value, slopes: [0, 0] };
  return {
    value,
    slopes: tf
      .grads(loss)([...values])
      .map((slope) => slope.dataSync()[0]!),
  };
}

function assertNear(actual: number, expected: number, tolerance = 1e-6, label = ''): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${label} ${actual} is not ${expected}`);
}

const CLOSED_FORMS: [ObjectiveInput, number, number, number][] = [
  [{ objective: 'lsif' }, -0.5, -1, 1],
  [{ objective: 'ukl' }, 1, -1, 1],
  [{ objective: 'bce' }, 2 * Math.LN2, -0.5, 0.5],
  [{ objective: 'bce', beta: 0.1 }, 2 * Math.LN2, -0.05, 0.05],
  [{ objective: 'dpo', beta: 1 }, Math.LN2, -0.5, 0.5],
  [{ objective: 'dpo', beta: 0.1 }, Math.LN2, -0.05, 0.05],
];

for (const [request, value, chosenSlope, rejectedSlope] of CLOSED_FORMS) {
  test(`${request.objective} β ${request.beta ?? '–'} has the closed form's value and slopes if the policy is the reference`, () => {
    const actual = lossAndSlopes(request, 0, 0);
    assertNear(actual.value, value);
    assertNear(actual.slopes[0]!, chosenSlope);
    assertNear(actual.slopes[1]!, rejectedSlope);
  });
}

test('losses equal their formulas at log-ratios other than zero', () => {
  const [w, l] = [0.7, -0.4];
  assertNear(lossAndSlopes({ objective: 'lsif' }, w, l).value, -Math.exp(w) + 0.5 * Math.exp(2 * l));
  assertNear(lossAndSlopes({ objective: 'ukl' }, w, l).value, -w + Math.exp(l));
  assertNear(lossAndSlopes({ objective: 'bce' }, w, l).value, Math.log1p(Math.exp(-w)) + Math.log1p(Math.exp(l)));
  assertNear(lossAndSlopes({ objective: 'dpo', beta: 0.5 }, w, l).value, Math.log1p(Math.exp(-0.5 * (w - l))));
  assertNear(lossAndSlopes({ objective: 'sft' }, w, l, -1.25).value, 1.25);
});

test('negatives=both averages the loss over both responses as negatives', () => {
  const [w, l] = [0.7, -0.4];
  assertNear(
    lossAndSlopes({ objective: 'lsif', negatives: 'both' }, w, l).value,
    -Math.exp(w) + 0.25 * Math.exp(2 * l) + 0.25 * Math.exp(2 * w),
  );
});

test('on samples of the policy, the gradient of distill is that of KL(π_θ ‖ π_ref e^(r/β) / Z)', () => {
  const beta = 0.5;
  const logReference = [0.5, 0.3, 0.2].map(Math.log);
  const rewards = [0.4, -0.7, 1.1];
  const theta = tf.tensor1d([0.3, -0.2, 0.6]);
  const policy = tf.softmax(theta).dataSync();
  const both = [0, 1, 2].flatMap((y) => [0, 1, 2].map((z) => [y, z] as const));
  const sampled = (theta: tf.Tensor) => {
    const f = tf.sub(tf.logSoftmax(theta), tf.tensor1d(logReference));
    const side = (at: 0 | 1) =>
      tf.gather(
        f,
        tf.tensor1d(
          both.map((pair) => pair[at]),
          'int32',
        ),
      ) as tf.Tensor1D;
    const losses = pairLosses(parseObjective({ objective: 'distill', reduction: 'sum', beta }), {
      chosen: side(0),
      rejected: side(1),
      chosenLogps: side(0),
      ...unweighted(9),
      rewardMargins: tf.tensor1d(both.map(([y, z]) => rewards[y]! - rewards[z]!)),
    });
    return tf.sum(tf.mul(tf.tensor1d(both.map(([y, z]) => policy[y]! * policy[z]!)), losses));
  };
  const divergence = (theta: tf.Tensor) => {
    const logs = tf.logSoftmax(theta);
    const target = tf.logSoftmax(tf.tensor1d(logReference.map((logp, y) => logp + rewards[y]! / beta)));
    return tf.sum(tf.mul(tf.exp(logs), tf.sub(logs, target)));
  };
  const expected = tf.grad(divergence)(theta).dataSync();
  for (const [y, slope] of tf.grad(sampled)(theta).dataSync().entries()) assertNear(slope, expected[y]!, 1e-5, `${y}:`);
});

test('distill compares two whole responses, and nothing else', () => {
  for (const change of [{ reduction: 'mean' }, { negatives: 'both' }, { weighting: 'importance' }] as const)
    assert.throws(() => parseObjective({ objective: 'distill', reduction: 'sum', negatives: 'rejected', ...change }), {
      code: 'invalid_objective',
    });
});

test('the objectives of a reward ignore the settings of a policy', () => {
  const bradleyTerry = parseRewardObjective({ reward_loss: 'bradley_terry', negatives: 'both' });
  assertNear(lossAndSlopes(bradleyTerry, 0.7, -0.4).value, Math.log1p(Math.exp(-1.1)));
  const densityRatio = parseRewardObjective({ reward_loss: 'density_ratio', negatives: 'rejected' });
  assertNear(lossAndSlopes(densityRatio, 0.7, -0.4).value, -Math.exp(0.7) + 0.5 * Math.exp(-0.8));
});

test('extreme log-ratios give finite losses and slopes', () => {
  for (const objective of ['lsif', 'ukl', 'bce', 'dpo'] as const) {
    for (const chosen of [-1e4, 0, 1e4]) {
      for (const rejected of [-1e4, 0, 1e4]) {
        const { value, slopes } = lossAndSlopes({ objective }, chosen, rejected);
        for (const x of [value, ...slopes])
          assert.ok(Number.isFinite(x), `${objective} at ${chosen}, ${rejected}: ${x}`);
      }
    }
  }
});

test('the capped exponential is exp up to the cap and its tangent above', () => {
  const points = [-3, 1.999, 2, 2.001, 5];
  const exp = (u: tf.Tensor) => cappedExp(u as tf.Tensor1D, 2);
  const values = exp(tf.tensor1d(points)).dataSync();
  const slopes = tf.grad(exp)(tf.tensor1d(points)).dataSync();
  for (const [i, u] of points.entries()) {
    assertNear(values[i]!, Math.exp(Math.min(u, 2)) * (1 + Math.max(0, u - 2)), 1e-5);
    assertNear(slopes[i]!, Math.exp(Math.min(u, 2)), 1e-5);
  }
});

test('the share of capped terms counts each exponential of the objective', () => {
  const ratios = {
    chosen: tf.tensor1d([0, 6, 6]),
    rejected: tf.tensor1d([0, 0, 3]),
    chosenLogps: tf.tensor1d([0, 0, 0]),
    ...unweighted(3),
  };
  const shares = (request: ObjectiveInput) => [
    ...cappedShares(parseObjective({ beta: 1, ...request }), ratios).dataSync(),
  ];
  assert.deepEqual(shares({ objective: 'lsif', cap: 5 }), [0, 0.5, 1]); // lsif squares the rejected ratio
  assert.deepEqual(shares({ objective: 'ukl', cap: 5 }), [0, 0, 0]);
  assert.deepEqual(shares({ objective: 'bce' }), [0, 0, 0]);
});

test('invalid settings are rejected, and the error names the setting', () => {
  assert.throws(() => parseObjective({ objective: 'dpo', negatives: 'both' }), AttuneError);
  assert.throws(() => parseObjective({ beta: -1 }), /beta/);
  assert.throws(() => parseObjective({ objective: 'sft', weighting: 'importance' }), /sft takes no expectation/);
  const { beta } = parseObjective({ reduction: 'mean' });
  assert.equal(beta, 1, 'a mean log-ratio is shorter by the length of the response');
  assert.deepEqual(parseObjective({}), {
    objective: 'bce',
    reduction: 'sum',
    negatives: 'rejected',
    beta: 0.1,
    weighting: 'none',
    cap: 5,
  });
});

// With three possible responses, expectations over all nine pairs and the minima of the losses are exact.
describe('with three possible responses', () => {
  const reference = [0.5, 0.3, 0.2];
  const preferred = [0.3, 0.35, 0.35];
  const pairs = [0, 1, 2].flatMap((w) => [0, 1, 2].map((l) => ({ w, l, p: preferred[w]! * reference[l]! })));

  type Samples = { pairs?: { w: number; l: number; p: number }[]; importance?: number[] };

  /** Gradient descent on the three log-ratios; returns them and the loss. */
  function minimize(request: ObjectiveInput, steps: number, rate: number, samples: Samples = {}) {
    const settings = parseObjective(request);
    const sampled = samples.pairs ?? pairs;
    const winners = tf.tensor1d(
      sampled.map(({ w }) => w),
      'int32',
    );
    const losers = tf.tensor1d(
      sampled.map(({ l }) => l),
      'int32',
    );
    const probabilities = tf.tensor1d(sampled.map(({ p }) => p));
    const weights = tf.tensor1d(samples.importance ?? [1, 1, 1]);
    const loss = (f: tf.Tensor): tf.Scalar => {
      const gather = (from: tf.Tensor, index: tf.Tensor1D): tf.Tensor1D => tf.gather(from as tf.Tensor1D, index);
      const chosen = gather(f, winners);
      const ratios = {
        chosen,
        rejected: gather(f, losers),
        chosenLogps: chosen,
        chosenImportance: gather(weights, winners),
        rejectedImportance: gather(weights, losers),
      };
      return tf.sum(tf.mul(probabilities, pairLosses(settings, ratios)));
    };
    let f = tf.zeros([3]);
    const gradient = tf.grad(loss);
    for (let i = 0; i < steps; i++) f = tf.tidy(() => tf.sub(f, tf.mul(rate, gradient(f))));
    return { f: [...f.dataSync()], loss: loss(f).dataSync()[0]! };
  }

  for (const [objective, minimum] of [
    ['lsif', -0.600417],
    ['ukl', 0.903429],
    ['bce', 1.338386],
  ] as const) {
    test(`${objective} recovers the true density ratio`, () => {
      const { f, loss } = minimize({ objective, beta: 1 }, 400, 0.8);
      for (const [i, ratio] of [0.6, 1.16667, 1.75].entries()) assertNear(Math.exp(f[i]!), ratio, 2e-3, objective);
      assertNear(loss, minimum, 2e-6);
    });

    test(`${objective} at β ½ recovers the square of the true density ratio, at the same loss`, () => {
      const { f, loss } = minimize({ objective, beta: 0.5 }, 400, 3.2);
      for (const [i, ratio] of [0.6, 1.16667, 1.75].entries()) assertNear(Math.exp(f[i]! / 2), ratio, 2e-3, objective);
      assertNear(loss, minimum, 2e-6);
    });
  }

  // The negatives are samples of a policy that differs from the reference.
  const sampler = [0.2, 0.3, 0.5];
  const offPolicy = [0, 1, 2].flatMap((w) => [0, 1, 2].map((l) => ({ w, l, p: preferred[w]! * sampler[l]! })));
  const importance = sampler.map((mu, i) => reference[i]! / mu);

  for (const objective of ['lsif', 'ukl', 'bce'] as const) {
    test(`${objective} is biased by negatives of another sampler, and importance weights remove the bias`, () => {
      const biased = minimize({ objective, beta: 1 }, 600, 0.6, { pairs: offPolicy });
      // The minimum is the ratio to the sampler.
      for (const [i, mu] of sampler.entries()) assertNear(Math.exp(biased.f[i]!), preferred[i]! / mu, 3e-3, objective);
      const weighted = minimize({ objective, beta: 1 }, 600, 0.6, { pairs: offPolicy, importance });
      for (const [i, ratio] of [0.6, 1.16667, 1.75].entries())
        assertNear(Math.exp(weighted.f[i]!), ratio, 3e-3, objective);
    });
  }

  for (const [beta, policy] of [
    [1, [0.3, 0.35, 0.35]],
    [0.5, [0.14991, 0.34004, 0.51006]],
    [0.1, [5.5e-5, 0.0254, 0.9746]],
  ] as const) {
    test(`dpo at β ${beta} converges to ${beta === 1 ? 'the preferred distribution' : 'an exaggeration of the preferred distribution'}`, () => {
      // The curvature of dpo is proportional to β², so the learning rate is divided by it.
      const { f } = minimize({ objective: 'dpo', beta }, 400, 2 / beta ** 2);
      const mass = f.map((x, i) => reference[i]! * Math.exp(x));
      const total = mass.reduce((sum, x) => sum + x);
      for (const [i, p] of policy.entries()) assertNear(mass[i]! / total, p, 5e-4, `β ${beta}`);
    });
  }
});
