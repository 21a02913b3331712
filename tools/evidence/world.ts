// The world of three answers, where every expectation is a sum of nine terms: what each objective is worth there, and
// where it is least. All losses come out of trainer/objectives.ts itself; the expected numbers are worked out beside
// them in double precision from the two distributions alone.
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { type ObjectiveRequest, pairLosses, readObjective } from '../../trainer/objectives.ts';

export const REFERENCE = [0.5, 0.3, 0.2];
export const CHOSEN = [0.3, 0.35, 0.35];
/** What density-ratio estimation is to find. */
export const RATIOS = CHOSEN.map((p, i) => p / REFERENCE[i]!);

/** A pair (w, l) is a chosen answer and one of the reference, drawn apart. */
const PAIRS = [0, 1, 2].flatMap((w) => [0, 1, 2].map((l) => ({ w, l, p: CHOSEN[w]! * REFERENCE[l]! })));
export const LOG_REFERENCE = REFERENCE.map(Math.log);

/** One objective: found by objectives.ts, and as the formulas have it. */
export type ClosedForm = {
  name: string;
  /** Where the policy is the reference: the loss of a pair, and its slopes by both log-ratios. */
  value: Both;
  slopes: [Both, Both];
  /** Where the expected loss is least: the loss, π/π_ref of the three answers, and the policy. */
  minimum: Both;
  ratios: Both[];
  policy: number[];
  findsChosen: boolean;
};
export type Both = { found: number; expected: number };

/** Anything with a loss in the log-ratios; `free` where each log-ratio may be whatever it likes. */
type Case = {
  name: string;
  request: ObjectiveRequest;
  free: boolean;
  rate: number;
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
      free: false,
      // Its curvature goes with β².
      rate: 2 / beta ** 2,
      value: Math.LN2,
      slopes: [-beta / 2, beta / 2],
      minimum: expect((w, l) => softplus(log(RATIOS[l]!) - log(RATIOS[w]!))),
      ratios: mass.map((value, i) => value / total / REFERENCE[i]!),
    };
  };
  const found = { free: true, rate: 0.8, ratios: RATIOS };
  return [
    {
      ...found,
      name: 'lsif',
      request: { objective: 'lsif' },
      value: -0.5,
      slopes: [-1, 1],
      minimum: expect((w, l) => 0.5 * RATIOS[l]! ** 2 - RATIOS[w]!),
    },
    {
      ...found,
      name: 'ukl',
      request: { objective: 'ukl' },
      value: 1,
      slopes: [-1, 1],
      minimum: expect((w, l) => RATIOS[l]! - log(RATIOS[w]!)),
    },
    {
      ...found,
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
      free: false,
      rate: 1,
      value: expect((w) => -LOG_REFERENCE[w]!),
      slopes: [-1, 0],
      minimum: expect((w) => -log(CHOSEN[w]!)),
      ratios: RATIOS,
    },
  ];
}

export function closedForms(): ClosedForm[] {
  return listCases().map(({ name, request, free, rate, ...expected }) => {
    const at = probe(request);
    const { f, loss } = free ? findRatios(request, rate) : findPolicy(request, rate);
    const policy = normalize(f.map((x, i) => REFERENCE[i]! * Math.exp(x)));
    return {
      name,
      value: { found: at.value, expected: expected.value },
      slopes: [
        { found: at.slopes[0], expected: expected.slopes[0] },
        { found: at.slopes[1], expected: expected.slopes[1] },
      ],
      minimum: { found: loss, expected: expected.minimum },
      ratios: expected.ratios.map((ratio, i) => ({ found: Math.exp(f[i]!), expected: ratio })),
      policy,
      findsChosen: policy.every((p, i) => Math.abs(p - CHOSEN[i]!) < 1e-3),
    };
  });
}

/** Expected loss of a pair and its slopes where all log-ratios are 0. */
function probe(request: ObjectiveRequest): { value: number; slopes: [number, number] } {
  const loss = (c: tf.Tensor, r: tf.Tensor) =>
    // Cloning does not look at the rejected one, and tfjs asks that a loss depend on all that it is derived by.
    tf.add(expectedLoss(request, c as tf.Tensor1D, r as tf.Tensor1D), tf.mul(0, tf.sum(r))) as tf.Scalar;
  const zeros = [tf.zeros([PAIRS.length]), tf.zeros([PAIRS.length])];
  const slopes = tf
    .grads(loss)(zeros)
    .map((slope) => [...slope.dataSync()].reduce((sum, value) => sum + value, 0));
  return { value: loss(zeros[0]!, zeros[1]!).dataSync()[0]!, slopes: slopes as [number, number] };
}

/** The expected loss over all pairs, from both log-ratios of each [9]. */
function expectedLoss(request: ObjectiveRequest, chosen: tf.Tensor1D, rejected: tf.Tensor1D): tf.Scalar {
  const chances = tf.tensor1d(PAIRS.map(({ p }) => p));
  const chosenLogps: tf.Tensor1D = tf.add(chosen, tf.tensor1d(PAIRS.map(({ w }) => LOG_REFERENCE[w]!)));
  const ones = tf.onesLike(chosen);
  const ratios = { chosen, rejected, chosenLogps, chosenImportance: ones, rejectedImportance: ones };
  return tf.sum(tf.mul(chances, pairLosses(readObjective(request), ratios)));
}

/** The expected loss from the log-ratios of the three answers. */
export function lossOf(request: ObjectiveRequest, f: tf.Tensor1D): tf.Scalar {
  const side = (pick: (pair: { w: number; l: number }) => number): tf.Tensor1D =>
    tf.gather(f, tf.tensor1d(PAIRS.map(pick), 'int32'));
  return expectedLoss(
    request,
    side(({ w }) => w),
    side(({ l }) => l),
  );
}

/** Log-ratios that make the loss least, each free to be anything: nothing asks that π_ref·r sum to 1. */
export function findRatios(request: ObjectiveRequest, rate: number): { f: number[]; loss: number } {
  const f = descend((f) => lossOf(request, f), rate);
  return { f, loss: lossOf(request, tf.tensor1d(f)).dataSync()[0]! };
}

/** Log-ratios of the policy softmax(θ) that makes the loss least. */
export function findPolicy(request: ObjectiveRequest, rate: number): { f: number[]; loss: number } {
  const ratiosOf = (theta: tf.Tensor1D): tf.Tensor1D => tf.sub(tf.logSoftmax(theta), tf.tensor1d(LOG_REFERENCE));
  const theta = tf.tensor1d(descend((theta) => lossOf(request, ratiosOf(theta)), rate, LOG_REFERENCE));
  const f = ratiosOf(theta);
  return { f: [...f.dataSync()], loss: lossOf(request, f).dataSync()[0]! };
}

const STEPS = 500;

/** Plain gradient descent on three numbers. */
export function descend(loss: (x: tf.Tensor1D) => tf.Scalar, rate: number, start = [0, 0, 0]): number[] {
  const gradient = tf.grad((x) => loss(x as tf.Tensor1D));
  let x: tf.Tensor = tf.tensor1d(start);
  for (let i = 0; i < STEPS; i++) x = tf.tidy(() => tf.sub(x, tf.mul(rate, gradient(x))));
  return [...x.dataSync()];
}

export function normalize(mass: number[]): number[] {
  const total = mass.reduce((sum, value) => sum + value, 0);
  return mass.map((value) => value / total);
}
