// The four programs of an engine. Traced, each is one graph for every batch, or one for each bucket of batch shapes
// where a device runs quicker on what it knows beforehand.

import type * as tf from '@tensorflow/tfjs-core';
import { add, reshape } from '@tensorflow/tfjs-core';
import type { Architecture } from '../../shared/model/architecture.ts';
import { logits, makeConstants, tokenLogps } from '../model/decoder.ts';
import { isAdapter, type Parameters, SCALE } from '../model/parameters.ts';
import type { ObjectiveSettings } from '../objectives.ts';
import type { Arrays } from './batch.ts';
import { frozenShapes, type LoraSettings, trainableShapes } from './lora.ts';
import { type PairBatch, pairGradients, pairOutputs } from './loss.ts';
import { type Program, sizeOf, type Target } from './trace/graph.ts';
import { choosePrimes } from './trace/symbolic-dimensions.ts';
import { type InputSpec, trace } from './trace/trace.ts';

export type ProgramKind = 'logits' | 'score' | 'evaluate' | 'step';

/** S rows of T tokens, with R response positions in all, of P pairs. */
export type Bucket = { S: number; T: number; R: number; P: number };

/** The name under which a program gives out the gradient of a parameter. */
export function gradientName(parameter: string): string {
  return `gradient.${parameter}`;
}

/** The name under which a free `step` program takes what it adds the gradient to; both may be one memory. */
export function heldName(parameter: string): string {
  return `held.${parameter}`;
}

/** What a step is given where nothing has been added up yet. */
export function emptyGradient(parameters: Iterable<readonly [string, { shape: number[] }]>): Arrays {
  return new Map(
    Array.from(parameters, ([name, { shape }]) => [heldName(name), { shape, data: new Float32Array(sizeOf(shape)) }]),
  );
}

/** Shapes of what a program gives out, by name. */
export function outputShapes(
  a: Architecture,
  kind: ProgramKind,
  { S, T, R, P }: Bucket,
  lora?: LoraSettings | null,
): Map<string, number[]> {
  if (kind === 'logits') return new Map([['logits', [S, T, a.vocabSize]]]);
  const shapes = new Map([['logps', [R]]]);
  if (kind === 'score') return shapes;
  shapes.set('losses', [P]).set('capped', [P]);
  if (kind === 'step') for (const [name, shape] of trainableShapes(a, lora)) shapes.set(gradientName(name), shape);
  return shapes;
}

/** The graph for one bucket. */
export function buildProgram(
  a: Architecture,
  objective: ObjectiveSettings,
  kind: ProgramKind,
  bucket: Bucket,
  target?: Target,
  lora?: LoraSettings | null,
): Program {
  const compute = (tensors: ReadonlyMap<string, tf.Tensor>) => computeProgram(a, objective, kind, bucket, tensors);
  return trace(inputSpecs(a, bucket, lora), compute, { target });
}

/** The graph for every batch whose positions are below `length`. */
export function buildFreeProgram(
  a: Architecture,
  objective: ObjectiveSettings,
  kind: ProgramKind,
  length: number,
  lora?: LoraSettings | null,
): Program {
  const known = [...trainableShapes(a, lora).values(), ...frozenShapes(a, lora).values()].flat();
  const bucket = choosePrimes(['S', 'T', 'R', 'P'], [...known, a.heads, a.kvHeads, a.headDim, length]);
  const specs = inputSpecs(a, bucket, lora);
  const held: [string, InputSpec][] = Array.from(kind === 'step' ? trainableShapes(a, lora) : [], ([name, shape]) => [
    heldName(name),
    { shape, type: 'float32' },
  ]);
  const compute = (tensors: ReadonlyMap<string, tf.Tensor>) => {
    const own = new Map(Array.from(tensors).filter(([name]) => specs.has(name)));
    const outputs = computeProgram(a, objective, kind, bucket, own, length);
    for (const name of trainableShapes(a, lora).keys()) {
      const before = tensors.get(heldName(name));
      if (before) outputs.set(gradientName(name), add(before, outputs.get(gradientName(name))!));
    }
    return outputs;
  };
  return trace(new Map([...specs, ...held]), compute, { free: new Map(Object.entries(bucket)) });
}

/**
 * The program itself, from its batch's tensors, the parameters and the frozen weights; on symbols while it is traced,
 * else at once. Where there are adapters, the gradient is theirs.
 */
export function computeProgram(
  a: Architecture,
  objective: ObjectiveSettings,
  kind: ProgramKind,
  bucket: Bucket,
  tensors: ReadonlyMap<string, tf.Tensor>,
  length = bucket.T,
): Map<string, tf.Tensor> {
  const ofBatch = new Map(batchSpecs(bucket));
  const parameters: Parameters = new Map(Array.from(tensors).filter(([name]) => !ofBatch.has(name)));
  const batch = Object.fromEntries(tensors) as unknown as PairBatch;
  const constants = makeConstants(a, batch, length);
  if (kind === 'logits') {
    const all = logits(a, parameters, constants, batch.ids);
    return new Map([['logits', reshape(all, [bucket.S, bucket.T, a.vocabSize])]]); // [S·T, V] → [S, T, V]
  }
  if (kind === 'score') return new Map([['logps', tokenLogps(a, parameters, constants, batch)]]);
  if (kind === 'evaluate') return toOutputs(pairOutputs(a, objective, parameters, constants, batch));
  const names = [...parameters.keys()];
  const trained = parameters.has(SCALE) ? names.filter(isAdapter) : names;
  const { gradients, ...outputs } = pairGradients(a, objective, parameters, constants, batch, trained);
  const all = toOutputs(outputs);
  for (const [name, gradient] of gradients) all.set(gradientName(name), gradient);
  return all;
}

function toOutputs({ losses, capped, logps }: { losses: tf.Tensor; capped: tf.Tensor; logps: tf.Tensor }) {
  return new Map<string, tf.Tensor>([
    ['losses', losses],
    ['capped', capped],
    ['logps', logps],
  ]);
}

function inputSpecs(a: Architecture, bucket: Bucket, lora?: LoraSettings | null): Map<string, InputSpec> {
  const specs = new Map<string, InputSpec>(batchSpecs(bucket));
  for (const shapes of [trainableShapes(a, lora), frozenShapes(a, lora)])
    for (const [name, shape] of shapes) specs.set(name, { shape, type: 'float32' });
  return specs;
}

function batchSpecs({ S, T, R, P }: Bucket): [string, InputSpec][] {
  return [
    ['ids', { shape: [S, T], type: 'int32' }],
    ['positionIds', { shape: [S, T], type: 'int32' }],
    ['segments', { shape: [S, T], type: 'int32' }],
    ['parents', { shape: [S, T], type: 'int32' }],
    ['positions', { shape: [R], type: 'int32' }],
    ['targets', { shape: [R], type: 'int32' }],
    ['owners', { shape: [R], type: 'int32' }],
    ['weights', { shape: [R], type: 'float32' }],
    ['refs', { shape: [R], type: 'float32' }],
    ['importance', { shape: [2 * P], type: 'float32' }],
    ['shares', { shape: [P], type: 'float32' }],
  ];
}
