// The four graphs of an engine, each traced for one bucket of batch shapes.
import type * as tf from '@tensorflow/tfjs-core';
import { reshape } from '@tensorflow/tfjs-core';
import { type Architecture, weightShapes } from '../../shared/policy/architecture.ts';
import { logits, makeConstants, type Parameters, tokenLogps } from '../model/decoder.ts';
import type { ObjectiveSettings } from '../objectives.ts';
import { type PairBatch, pairGradients, pairOutputs } from './loss.ts';
import type { Program } from './trace/graph.ts';
import { type InputSpec, trace } from './trace/trace.ts';

export type ProgramKind = 'logits' | 'score' | 'evaluate' | 'step';

/** S sequences of T tokens, R response positions in all. */
export type Bucket = { S: number; T: number; R: number };

/** The name under which a program gives out the gradient of a parameter. */
export function gradientName(parameter: string): string {
  return `gradient.${parameter}`;
}

/** Shapes of what a program gives out, by name. */
export function outputShapes(a: Architecture, kind: ProgramKind, { S, T, R }: Bucket): Map<string, number[]> {
  if (kind === 'logits') return new Map([['logits', [S, T, a.vocabSize]]]);
  const shapes = new Map([['logps', [R]]]);
  if (kind === 'score') return shapes;
  shapes.set('losses', [S / 2]).set('capped', [S / 2]);
  if (kind === 'step') for (const [name, shape] of weightShapes(a)) shapes.set(gradientName(name), shape);
  return shapes;
}

export function buildProgram(
  a: Architecture,
  objective: ObjectiveSettings,
  kind: ProgramKind,
  bucket: Bucket,
): Program {
  const shapes = weightShapes(a);
  const inputs = new Map<string, InputSpec>(batchSpecs(bucket));
  for (const [name, shape] of shapes) inputs.set(name, { shape, type: 'float32' });
  return trace(inputs, (tensors) => {
    const parameters: Parameters = new Map(Array.from(shapes.keys(), (name) => [name, tensors.get(name)!]));
    const constants = makeConstants(a, bucket.T, bucket.R);
    const batch = Object.fromEntries(tensors) as unknown as PairBatch;
    if (kind === 'logits') {
      const all = logits(a, parameters, constants, batch.ids);
      return new Map([['logits', reshape(all, [bucket.S, bucket.T, a.vocabSize])]]); // [S·T, V] → [S, T, V]
    }
    if (kind === 'score') return new Map([['logps', tokenLogps(a, parameters, constants, batch)]]);
    if (kind === 'evaluate') return toOutputs(pairOutputs(a, objective, parameters, constants, batch));
    const { gradients, ...outputs } = pairGradients(a, objective, parameters, constants, batch);
    const all = toOutputs(outputs);
    for (const [name, gradient] of gradients) all.set(gradientName(name), gradient);
    return all;
  });
}

function toOutputs({ losses, capped, logps }: { losses: tf.Tensor; capped: tf.Tensor; logps: tf.Tensor }) {
  return new Map<string, tf.Tensor>([
    ['losses', losses],
    ['capped', capped],
    ['logps', logps],
  ]);
}

function batchSpecs({ S, T, R }: Bucket): [string, InputSpec][] {
  return [
    ['ids', { shape: [S, T], type: 'int32' }],
    ['positions', { shape: [R], type: 'int32' }],
    ['targets', { shape: [R], type: 'int32' }],
    ['rows', { shape: [R], type: 'int32' }],
    ['weights', { shape: [R], type: 'float32' }],
    ['refs', { shape: [R], type: 'float32' }],
    ['shares', { shape: [Math.floor(S / 2)], type: 'float32' }],
  ];
}
