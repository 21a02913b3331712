// The four programs of an engine: logits, score (log-probabilities), evaluate (losses) and step (losses and gradients).
// A program is traced to one ONNX graph for batches of every shape, or to one per shape bucket for a device that runs
// faster on static shapes; TensorFlow runs it eagerly.
import type * as tf from '@tensorflow/tfjs-core';
import { add, reshape } from '@tensorflow/tfjs-core';
import type { Architecture } from '../../shared/model/architecture.ts';
import { createConstants, logits } from '../model/decoder.ts';
import { isTrainedWithAdapters, LORA_SCALE, type Parameters } from '../model/parameters.ts';
import type { ObjectiveSettings } from '../objectives.ts';
import type { ShapeBucket } from './batch.ts';
import { frozenShapes, type LoraConfig, trainableShapes } from './lora.ts';
import { computePairGradients, computePairLosses, computeScores, type PairBatch } from './loss.ts';
import type { TracedProgram, TraceTarget } from './trace/graph.ts';
import { choosePrimes } from './trace/symbolic-dimensions.ts';
import { type InputSpec, trace } from './trace/trace.ts';

export type ProgramKind = 'logits' | 'score' | 'evaluate' | 'step';

/** The output name of the gradient of a parameter. */
export function gradientName(parameter: string): string {
  return `gradient.${parameter}`;
}

/**
 * The input name of the gradient accumulated so far, to which a dynamic `step` program adds the gradient of its batch.
 * Input and output may share a buffer.
 */
export function accumulatedName(parameter: string): string {
  return `accumulated.${parameter}`;
}

/** Shapes of the outputs of a program. */
export function outputShapes(
  a: Architecture,
  kind: ProgramKind,
  { S, T, R, P }: ShapeBucket,
  lora?: LoraConfig | null,
): Map<string, number[]> {
  if (kind === 'logits') return new Map([['logits', [S, T, a.vocabSize]]]);
  const shapes = new Map([['logps', [R]]]);
  if (kind === 'score') return shapes;
  shapes.set('losses', [P]).set('capped', [P]);
  if (kind === 'step') for (const [name, shape] of trainableShapes(a, lora)) shapes.set(gradientName(name), shape);
  return shapes;
}

/** Traces the graph for one shape bucket. */
export function buildBucketProgram(
  a: Architecture,
  objective: ObjectiveSettings,
  kind: ProgramKind,
  bucket: ShapeBucket,
  target?: TraceTarget,
  lora?: LoraConfig | null,
): TracedProgram {
  const compute = (tensors: ReadonlyMap<string, tf.Tensor>) => computeProgram(a, objective, kind, bucket, tensors);
  return trace(inputSpecs(a, bucket, lora), compute, { target });
}

/** Traces the graph for batches of every shape whose position ids are below `length`. */
export function buildDynamicProgram(
  a: Architecture,
  objective: ObjectiveSettings,
  kind: ProgramKind,
  length: number,
  lora?: LoraConfig | null,
): TracedProgram {
  const staticExtents = [...trainableShapes(a, lora).values(), ...frozenShapes(a, lora).values()].flat();
  const bucket = choosePrimes(['S', 'T', 'R', 'P'], [...staticExtents, a.heads, a.kvHeads, a.headDim, length]);
  const specs = inputSpecs(a, bucket, lora);
  const accumulated: [string, InputSpec][] = Array.from(
    kind === 'step' ? trainableShapes(a, lora) : [],
    ([name, shape]) => [accumulatedName(name), { shape, type: 'float32' }],
  );
  const compute = (tensors: ReadonlyMap<string, tf.Tensor>) => {
    const inputs = new Map(Array.from(tensors).filter(([name]) => specs.has(name)));
    const outputs = computeProgram(a, objective, kind, bucket, inputs, length);
    for (const name of trainableShapes(a, lora).keys()) {
      const sum = tensors.get(accumulatedName(name));
      if (sum) outputs.set(gradientName(name), add(sum, outputs.get(gradientName(name))!));
    }
    return outputs;
  };
  return trace(new Map([...specs, ...accumulated]), compute, { dynamicDims: new Map(Object.entries(bucket)) });
}

/**
 * Runs a program on the tensors of its batch, parameters and frozen weights: symbolically inside a trace,
 * otherwise eagerly. With adapters, only the adapters and a reward's head have gradients.
 */
export function computeProgram(
  a: Architecture,
  objective: ObjectiveSettings,
  kind: ProgramKind,
  bucket: ShapeBucket,
  tensors: ReadonlyMap<string, tf.Tensor>,
  length = bucket.T,
): Map<string, tf.Tensor> {
  const batchNames = new Map(batchSpecs(bucket));
  const parameters: Parameters = new Map(Array.from(tensors).filter(([name]) => !batchNames.has(name)));
  const batch = Object.fromEntries(tensors) as unknown as PairBatch;
  const constants = createConstants(a, batch, length);
  if (kind === 'logits') {
    const flat = logits(a, parameters, constants, batch.inputIds);
    return new Map([['logits', reshape(flat, [bucket.S, bucket.T, a.vocabSize])]]); // [S·T, V] → [S, T, V]
  }
  if (kind === 'score') return new Map([['logps', computeScores(a, parameters, constants, batch)]]);
  if (kind === 'evaluate') return toOutputs(computePairLosses(a, objective, parameters, constants, batch));
  const names = [...parameters.keys()];
  const trained = parameters.has(LORA_SCALE) ? names.filter(isTrainedWithAdapters) : names;
  const { gradients, ...outputs } = computePairGradients(a, objective, parameters, constants, batch, trained);
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

function inputSpecs(a: Architecture, bucket: ShapeBucket, lora?: LoraConfig | null): Map<string, InputSpec> {
  const specs = new Map<string, InputSpec>(batchSpecs(bucket));
  for (const shapes of [trainableShapes(a, lora), frozenShapes(a, lora)])
    for (const [name, shape] of shapes) specs.set(name, { shape, type: 'float32' });
  return specs;
}

function batchSpecs({ S, T, R, P }: ShapeBucket): [string, InputSpec][] {
  return [
    ['inputIds', { shape: [S, T], type: 'int32' }],
    ['positionIds', { shape: [S, T], type: 'int32' }],
    ['segmentIds', { shape: [S, T], type: 'int32' }],
    ['parentSegmentIds', { shape: [S, T], type: 'int32' }],
    ['logitPositions', { shape: [R], type: 'int32' }],
    ['targetIds', { shape: [R], type: 'int32' }],
    ['responseIndices', { shape: [R], type: 'int32' }],
    ['tokenWeights', { shape: [R], type: 'float32' }],
    ['refLogps', { shape: [R], type: 'float32' }],
    ['importance', { shape: [2 * P], type: 'float32' }],
    ['rewardMargins', { shape: [P], type: 'float32' }],
    ['pairWeights', { shape: [P], type: 'float32' }],
  ];
}
