import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { before, type TestContext, test } from 'node:test';
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import type { AttuneError } from '../shared/error.ts';
import { bregmanTerms, type Divergence, loadDivergence, validateDivergence } from './divergence.ts';
import { pairLosses, parseObjective } from './objectives.ts';

before(async () => {
  tf.env().set('IS_TEST', true);
  await tf.setBackend('cpu');
});

/** The h of the built-in objectives that have one. Training uses their simplified forms (objectives.ts). */
const DIVERGENCES = {
  lsif: { h: (r) => tf.mul(0.5, tf.square(tf.sub(r, 1))), derivative: (r) => tf.sub(r, 1) },
  ukl: { h: (r) => tf.sub(tf.mul(r, tf.log(r)), r), derivative: (r) => tf.log(r) },
  bce: {
    h: (r) => tf.sub(tf.mul(r, tf.log(r)), tf.mul(tf.add(r, 1), tf.log(tf.add(r, 1)))),
    derivative: (r) => tf.sub(tf.log(r), tf.log(tf.add(r, 1))),
  },
} satisfies Record<string, Divergence>;

/** A custom module with the h of ukl. */
const UKL_MODULE =
  'export default (tf) => ({ h: (r) => tf.sub(tf.mul(r, tf.log(r)), r), derivative: (r) => tf.log(r) });';

async function writeModule(t: TestContext, source: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-h-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'my-h.ts');
  await writeFile(file, source);
  return file;
}

const chosen = tf.tensor1d([-3, -0.5, 0, 0.7, 2]);
const rejected = tf.tensor1d([1.5, 0.2, 0, -0.6, -4]);
const rest = { chosenLogps: tf.zerosLike(chosen), chosenImportance: tf.onesLike(chosen) };
const losses = (objective: string, c: tf.Tensor, r: tf.Tensor) =>
  pairLosses(parseObjective({ objective, beta: 1 }), {
    chosen: c as tf.Tensor1D,
    rejected: r as tf.Tensor1D,
    ...rest,
    rejectedImportance: tf.tensor1d([1, 0.5, 1, 2, 1]),
  });

for (const [name, divergence] of Object.entries(DIVERGENCES)) {
  test(`the simplified form of ${name} is the general formula of its h, in value and slope`, () => {
    const general = (c: tf.Tensor, r: tf.Tensor) => {
      const terms = bregmanTerms(divergence, tf.exp(c) as tf.Tensor1D, tf.exp(r) as tf.Tensor1D);
      return tf.add(terms.chosen, tf.mul(terms.negative, tf.tensor1d([1, 0.5, 1, 2, 1])));
    };
    // lsif leaves constants out: its terms are 1 − r and ½r² − ½, and the second one is weighted.
    const constant = name === 'lsif' ? [0.5, 0.75, 0.5, 0, 0.5] : [0, 0, 0, 0, 0];
    const expected = general(chosen, rejected).dataSync();
    const actual = losses(name, chosen, rejected).dataSync();
    for (const [i, value] of actual.entries())
      assert.ok(Math.abs(value + constant[i]! - expected[i]!) < 1e-5 * (1 + Math.abs(value)), `${i}: ${value}`);
    const slopes = (f: (c: tf.Tensor, r: tf.Tensor) => tf.Tensor) => tf.grads(f)([chosen, rejected]);
    const simple = slopes((c, r) => losses(name, c, r));
    for (const [side, slope] of slopes(general).entries())
      for (const [i, value] of slope.dataSync().entries())
        assert.ok(Math.abs(value - simple[side]!.dataSync()[i]!) < 1e-4 * (1 + Math.abs(value)), `${side} ${i}`);
  });

  test(`the h of ${name} passes the validation of custom modules`, () => validateDivergence(name, divergence));
}

test('a module with the h of ukl gives the losses and slopes of ukl', async (t) => {
  const file = await writeModule(t, UKL_MODULE);
  validateDivergence(file, await loadDivergence(file));
  const [custom, ukl] = [file, 'ukl'].map((objective) => losses(objective, chosen, rejected).dataSync());
  for (const [i, value] of custom!.entries()) assert.ok(Math.abs(value - ukl![i]!) < 1e-5 * (1 + Math.abs(value)));
});

test('values and slopes of an h with a logarithm stay finite for extreme log-ratios', async (t) => {
  const file = await writeModule(t, UKL_MODULE);
  await loadDivergence(file);
  const far = tf.tensor1d([-1e4, -200, 0, 200, 1e4]);
  for (const tensor of [losses(file, far, far), ...tf.grads((c, r) => losses(file, c, r))([far, tf.reverse(far)])])
    for (const value of tensor.dataSync()) assert.ok(Number.isFinite(value), String(value));
});

test('a chosen response below the smallest log-ratio still gets a gradient from a module with the h of ukl', async (t) => {
  const file = await writeModule(t, UKL_MODULE);
  await loadDivergence(file);
  const lowLogRatios = tf.tensor1d([-1e4, -60, -31, -29, 0]);
  const [slopes] = tf.grads((c, r) => losses(file, c, r))([lowLogRatios, rejected]);
  for (const slope of slopes!.dataSync()) assert.ok(Math.abs(slope + 1) < 1e-4, String(slope));
});

test('a changed module is imported and validated again', async (t) => {
  const file = await writeModule(t, 'export default (tf) => ({ h: tf.square, derivative: (r) => tf.mul(2, r) });');
  validateDivergence(file, await loadDivergence(file));
  await writeFile(
    file,
    'export default (tf) => ({ h: (r) => tf.neg(tf.square(r)), derivative: (r) => tf.mul(-2, r) });',
  );
  assert.throws(validateDivergence.bind(null, file, await loadDivergence(file)), /slope of h falls/);
});

for (const [name, source] of [
  ['a hinge', '({ h: (r) => tf.relu(tf.sub(r, 1)), derivative: (r) => tf.cast(tf.greater(r, 1), "float32") })'],
  [
    'a squared hinge',
    '({ h: (r) => tf.square(tf.relu(tf.sub(r, 1))), derivative: (r) => tf.mul(2, tf.relu(tf.sub(r, 1))) })',
  ],
  ['the Itakura-Saito divergence', '({ h: (r) => tf.neg(tf.log(r)), derivative: (r) => tf.neg(tf.div(1, r)) })'],
  ['a cube', '({ h: (r) => tf.mul(r, tf.square(r)), derivative: (r) => tf.mul(3, tf.square(r)) })'],
] as const) {
  test(`${name} is convex and passes`, async (t) => {
    const file = await writeModule(t, `export default (tf) => ${source};`);
    validateDivergence(file, await loadDivergence(file));
  });
}

const INVALID_MODULES: [string, RegExp][] = [
  ['export const h = 1;', /default export is not a function; write export default \(tf\) => \(\{ h, derivative \}\)$/],
  [
    'export default () => ({ h: (r) => r });',
    /returns no h and derivative; return both, as functions of a tensor of ratios$/,
  ],
  [
    'export default (tf) => ({ h: (r) => tf.neg(tf.square(r)), derivative: (r) => tf.mul(-2, r) });',
    /slope of h falls.*convex/,
  ],
  ['export default (tf) => ({ h: (r) => tf.square(r), derivative: (r) => r });', /derivative is .*fix one of them/],
  [
    'export default (tf) => ({ h: (r) => tf.mul(3, r), derivative: (r) => tf.onesLike(r).mul(3) });',
    /must not be linear/,
  ],
  ['export default (tf) => ({ h: (r) => tf.log(tf.sub(r, 1)), derivative: (r) => r });', /h is NaN.*finite for r > 0/],
  [
    'export default (tf) => ({ h: (r) => tf.sum(r), derivative: (r) => r });',
    /h returns shape \[\] for \[97\]; use element-wise operations$/,
  ],
  ['export default (', /the import failed: .*; fix the module$/],
  ['export default () => { throw new Error("no"); };', /the default export throws: no; fix the module$/],
  [
    'export default (tf) => ({ h: (r) => r * r, derivative: (r) => tf.mul(2, r) });',
    /h returns no tensor; use the operations of the tf/,
  ],
  [
    'export default (tf) => ({ h: async (r) => tf.square(r), derivative: (r) => tf.mul(2, r) });',
    /h returns no tensor/,
  ],
  [
    'export default (tf) => ({ h: () => { throw new Error("no"); }, derivative: (r) => r });',
    /h throws: no; fix the module$/,
  ],
  [
    'export default (tf) => ({ h: (r) => tf.square(r), derivative: (r) => tf.mul(2.03, r) });',
    /derivative is .*fix one of them/,
  ],
];
for (const [source, problem] of INVALID_MODULES) {
  test(`${source} is rejected: ${problem.source}`, async (t) => {
    const file = await writeModule(t, source);
    await assert.rejects(
      async () => validateDivergence(file, await loadDivergence(file)),
      (error: AttuneError) => {
        assert.ok(error.message.startsWith(`objective ${file}: `), error.message);
        assert.match(error.message, problem);
        assert.deepEqual([error.param, error.code], ['objective', 'invalid_objective']);
        return true;
      },
    );
  });
}

test('a module that cannot be read is rejected with its path', async () => {
  await assert.rejects(loadDivergence('./missing-h.ts'), {
    message: /^objective .*missing-h\.ts: the file cannot be read: ENOENT.*; give the path of a \.ts or \.js module$/,
    param: 'objective',
    code: 'invalid_objective',
  });
});
