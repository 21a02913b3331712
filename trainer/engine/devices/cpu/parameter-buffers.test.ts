import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttuneError } from '../../../../shared/error.ts';
import { DEFAULT_OPTIMIZER } from '../../engine.ts';
import { ParameterBuffers } from './parameter-buffers.ts';

const shapes = new Map([
  ['matrix', [7, 9]],
  ['gain', [5]],
]);
const wave = (length: number, seed: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * 1.3 + seed));

function makeParameters(): ParameterBuffers {
  const parameters = new ParameterBuffers(shapes);
  for (const name of shapes.keys()) {
    const { data } = parameters.view('weight', name);
    data.set(wave(data.length, 1));
    parameters.view('gradient', name).data.set(wave(data.length, 2));
  }
  return parameters;
}

test('three AdamW steps equal a plain JavaScript loop', () => {
  const settings = { beta1: 0.8, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1, maxGradNorm: 1 };
  const parameters = makeParameters();
  for (const [name, shape] of shapes) {
    const size = shape.reduce((a, b) => a * b);
    const weight = Float64Array.from(wave(size, 1));
    const gradient = wave(size, 2);
    const first = new Float64Array(size);
    const second = new Float64Array(size);
    for (let t = 1; t <= 3; t++) {
      for (let i = 0; i < size; i++) {
        const g = gradient[i]! * 0.5;
        first[i] = settings.beta1 * first[i]! + (1 - settings.beta1) * g;
        second[i] = settings.beta2 * second[i]! + (1 - settings.beta2) * g * g;
        const m = first[i]! / (1 - settings.beta1 ** t);
        const v = second[i]! / (1 - settings.beta2 ** t);
        if (shape.length > 1) weight[i]! -= 0.01 * settings.weightDecay * weight[i]!;
        weight[i]! -= (0.01 * m) / (Math.sqrt(v) + settings.epsilon);
      }
    }
    const trained = makeParameters();
    for (let t = 0; t < 3; t++) trained.optimizerStep(0.5, 0.01, settings);
    const { data } = trained.view('weight', name);
    for (let i = 0; i < size; i++) assert.ok(Math.abs(data[i]! - weight[i]!) < 1e-6, `${name}[${i}]`);
  }
  assert.equal(parameters.optimizerSteps, 0);
});

test('the gradient norm covers all parameters, and the padding between them adds nothing', () => {
  const parameters = makeParameters();
  const expected = Math.hypot(...wave(63, 2), ...wave(5, 2));
  assert.ok(Math.abs(parameters.gradientNorm() - expected) < 1e-9);
});

test('rejects weights of another shape and more parameters than fit', () => {
  const parameters = new ParameterBuffers(shapes);
  assert.throws(() => parameters.load('weight', new Map()), /matrix is missing/);
  const wrong = new Map([['matrix', { shape: [9, 7], data: new Float32Array(63) }]]);
  assert.throws(() => parameters.load('weight', wrong), /shape \[9,7\], expected \[7,9\]/);
  assert.throws(() => new ParameterBuffers(new Map([['large', [1 << 30]]])), AttuneError);
  assert.equal(DEFAULT_OPTIMIZER.beta1, 0.9);
});
