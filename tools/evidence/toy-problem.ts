// A toy problem with three responses, where every expectation is a sum of nine terms: value, gradient and minimum of each
// objective. Numeric results use the losses of trainer/objectives.ts; the analytic ones are derived from the two
// distributions alone, in double precision.
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { type ObjectiveInput, pairLosses, parseObjective } from '../../trainer/objectives.ts';

export const REFERENCE = [0.5, 0.3, 0.2];
export const CHOSEN_DISTRIBUTION = [0.3, 0.35, 0.35];
/** r* = π_chosen/π_ref, the target of density-ratio estimation. */
export const RATIOS = CHOSEN_DISTRIBUTION.map((p, i) => p / REFERENCE[i]!);

/** A pair (w, l): independent samples of the chosen distribution and of the reference. */
const PAIRS = [0, 1, 2].flatMap((w) => [0, 1, 2].map((l) => ({ w, l, p: CHOSEN_DISTRIBUTION[w]! * REFERENCE[l]! })));
export const LOG_REFERENCE = REFERENCE.map(Math.log);

/** Numeric and analytic results for one objective. */
export type ClosedForm = {
  name: string;
  /** Expected loss, and its gradient by both log-ratios, where the policy is the reference. */
  value: Comparison;
  slopes: [Comparison, Comparison];
  /** At the minimum of the expected loss: the loss, π/π_ref of the three responses, and the policy. */
  minimum: Comparison;
  ratios: Comparison[];
  policy: number[];
  findsChosen: boolean;
};
export type Comparison = { actual: number; expected: number };

/** `isUnconstrained`: minimized over any three log-ratios, not only those of a normalised policy. */
type Case = {
  name: string;
  request: ObjectiveInput;
  isUnconstrained: boolean;
  learningRate: number;
  value: number;
  slopes: [number, number];
  minimum: number;
  ratios: number[];
};

const expect = (loss: (w: number, l: number) => number) => PAIRS.reduce((sum, { w, l, p }) => sum + p * loss(w, l), 0);
const softplus = (x: number) => Math.log1p(Math.exp(x));
const log = Math.log;

function listCases(): Case[] {
  const dpo = (beta: number): Case => {
    const mass = REFERENCE.map((p, i) => p * RATIOS[i]! ** (1 / beta));
    const total = mass.reduce((sum, value) => sum + value);
    return {
      name: `dpo, β ${beta}`,
      request: { objective: 'dpo', beta },
      isUnconstrained: false,
      // The curvature is proportional to β².
      learningRate: 2 / beta ** 2,
      value: Math.LN2,
      slopes: [-beta / 2, beta / 2],
      minimum: expect((w, l) => softplus(log(RATIOS[l]!) - log(RATIOS[w]!))),
      ratios: mass.map((value, i) => value / total / REFERENCE[i]!),
    };
  };
  const densityRatio = { isUnconstrained: true, learningRate: 0.8, ratios: RATIOS };
  return [
    {
      ...densityRatio,
      name: 'lsif',
      request: { objective: 'lsif' },
      value: -0.5,
      slopes: [-1, 1],
      minimum: expect((w, l) => 0.5 * RATIOS[l]! ** 2 - RATIOS[w]!),
    },
    {
      ...densityRatio,
      name: 'ukl',
      request: { objective: 'ukl' },
      value: 1,
      slopes: [-1, 1],
      minimum: expect((w, l) => RATIOS[l]! - log(RATIOS[w]!)),
    },
    {
      ...densityRatio,
      name: 'bce',
      request: { objective: 'bce' },
      value: 2 * Math.LN2,
      slopes: [-0.5, 0.5],
      minimum: expect((w, l) => log(1 + 1 / RATIOS[w]!) + log(1 + RATIOS[l]!)),
    },
    dpo(1),
    dpo(0.5),
    dpo(0.1),
    {
      name: 'sft',
      request: { objective: 'sft' },
      isUnconstrained: false,
      learningRate: 1,
      value: expect((w) => -LOG_REFERENCE[w]!),
      slopes: [-1, 0],
      minimum: expect((w) => -log(CHOSEN_DISTRIBUTION[w]!)),
      ratios: RATIOS,
    },
  ];
}

export function compareClosedForms(): ClosedForm[] {
  return listCases().map(({ name, request, isUnconstrained, learningRate, ...expected }) => {
    const reference = evaluateAtReference(request);
    const { f, loss } = isUnconstrained
      ? minimizeOverRatios(request, learningRate)
      : minimizeOverPolicies(request, learningRate);
    const policy = normalize(f.map((x, i) => REFERENCE[i]! * Math.exp(x)));
    return {
      name,
      value: { actual: reference.value, expected: expected.value },
      slopes: [
        { actual: reference.slopes[0], expected: expected.slopes[0] },
        { actual: reference.slopes[1], expected: expected.slopes[1] },
      ],
      minimum: { actual: loss, expected: expected.minimum },
      ratios: expected.ratios.map((ratio, i) => ({ actual: Math.exp(f[i]!), expected: ratio })),
      policy,
      findsChosen: policy.every((p, i) => Math.abs(p - CHOSEN_DISTRIBUTION[i]!) < 1e-3),
    };
  });
}

/** Expected loss and its gradient at log-ratios 0. */
function evaluateAtReference(request: ObjectiveInput): { value: number; slopes: [number, number] } {
  const loss = (c: tf.Tensor, r: tf.Tensor) =>
    // SFT ignores the rejected side, and tfjs requires the loss to depend on every variable it is differentiated by.
    tf.add(expectedLoss(request, c as tf.Tensor1D, r as tf.Tensor1D), tf.mul(0, tf.sum(r))) as tf.Scalar;
  const zeros = [tf.zeros([PAIRS.length]), tf.zeros([PAIRS.length])];
  const slopes = tf
    .grads(loss)(zeros)
    .map((slope) => [...slope.dataSync()].reduce((sum, value) => sum + value, 0));
  return { value: loss(zeros[0]!, zeros[1]!).dataSync()[0]!, slopes: slopes as [number, number] };
}

/** Expected loss from the log-ratios of both sides of each pair, [9]. */
function expectedLoss(request: ObjectiveInput, chosen: tf.Tensor1D, rejected: tf.Tensor1D): tf.Scalar {
  const probabilities = tf.tensor1d(PAIRS.map(({ p }) => p));
  const chosenLogps: tf.Tensor1D = tf.add(chosen, tf.tensor1d(PAIRS.map(({ w }) => LOG_REFERENCE[w]!)));
  const ones = tf.onesLike(chosen);
  const ratios = { chosen, rejected, chosenLogps, chosenImportance: ones, rejectedImportance: ones };
  return tf.sum(tf.mul(probabilities, pairLosses(parseObjective({ beta: 1, ...request }), ratios)));
}

/** Expected loss from the log-ratios of the three responses, [3]. */
function expectedLossOf(request: ObjectiveInput, f: tf.Tensor1D): tf.Scalar {
  const side = (pick: (pair: { w: number; l: number }) => number): tf.Tensor1D =>
    tf.gather(f, tf.tensor1d(PAIRS.map(pick), 'int32'));
  return expectedLoss(
    request,
    side(({ w }) => w),
    side(({ l }) => l),
  );
}

/** Log-ratios at the minimum, unconstrained: π_ref·r need not sum to 1. */
export function minimizeOverRatios(request: ObjectiveInput, learningRate: number): { f: number[]; loss: number } {
  const f = minimize((f) => expectedLossOf(request, f), learningRate);
  return { f, loss: expectedLossOf(request, tf.tensor1d(f)).dataSync()[0]! };
}

/** Log-ratios of the policy softmax(θ) at the minimum. */
export function minimizeOverPolicies(request: ObjectiveInput, learningRate: number): { f: number[]; loss: number } {
  const logRatios = (theta: tf.Tensor1D): tf.Tensor1D => tf.sub(tf.logSoftmax(theta), tf.tensor1d(LOG_REFERENCE));
  const theta = tf.tensor1d(
    minimize((theta) => expectedLossOf(request, logRatios(theta)), learningRate, LOG_REFERENCE),
  );
  const f = logRatios(theta);
  return { f: [...f.dataSync()], loss: expectedLossOf(request, f).dataSync()[0]! };
}

const STEPS = 500;

/** Gradient descent on three numbers. */
export function minimize(loss: (x: tf.Tensor1D) => tf.Scalar, learningRate: number, start = [0, 0, 0]): number[] {
  const gradient = tf.grad((x) => loss(x as tf.Tensor1D));
  let x: tf.Tensor = tf.tensor1d(start);
  for (let i = 0; i < STEPS; i++) x = tf.tidy(() => tf.sub(x, tf.mul(learningRate, gradient(x))));
  return [...x.dataSync()];
}

export function normalize(mass: number[]): number[] {
  const total = mass.reduce((sum, value) => sum + value, 0);
  return mass.map((value) => value / total);
}
