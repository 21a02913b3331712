// Fixtures of the trainer's tests: token sequences, pairs with the engine's own policy as reference, tfjs's cpu backend,
// and the relative error of two tensors.
import assert from 'node:assert/strict';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { InputArrays } from '../trainer/engine/batch.ts';
import type { Engine, Sequence, TrainPair } from '../trainer/engine/engine.ts';
import { accumulatedName } from '../trainer/engine/programs.ts';
import type { TinyCheckpointOptions } from './tiny-checkpoint.ts';

/** A policy whose gradients take milliseconds. */
export const SMALL_POLICY: TinyCheckpointOptions & { vocabSize: number } = {
  layers: 2,
  hiddenSize: 16,
  intermediateSize: 24,
  heads: 4,
  kvHeads: 2,
  vocabSize: 300,
};

/** Token ids below `vocabSize`, different for each seed. */
export function makeTokens(seed: number, length: number, vocabSize = SMALL_POLICY.vocabSize): number[] {
  return Array.from({ length }, (_, i) => (i * i * 31 + seed * 17 + i * 7) % vocabSize);
}

/** A prompt of 2 to 5 tokens and a response of 1 to 40. */
export function makeSequence(seed: number): Sequence {
  return { promptIds: makeTokens(seed, 2 + (seed % 4)), responseIds: makeTokens(seed + 50, 1 + ((seed * 5) % 40)) };
}

/** Pairs of consecutive sequences, chosen and rejected, with the engine's current policy as their reference. */
export async function pairSequences(engine: Pick<Engine, 'score'>, sequences: Sequence[]): Promise<TrainPair[]> {
  const logps = await engine.score(sequences);
  return Array.from({ length: sequences.length / 2 }, (_, i) => ({
    chosen: sequences[2 * i]!,
    rejected: sequences[2 * i + 1]!,
    refChosenLogps: logps[2 * i]!,
    refRejectedLogps: logps[2 * i + 1]!,
  }));
}

/** Inputs of a `step` program: the accumulated gradient of each parameter before the first micro-batch. */
export function zeroGradients(parameters: ReadonlyMap<string, { shape: number[] }>): InputArrays {
  return new Map(
    Array.from(parameters, ([name, { shape }]) => [
      accumulatedName(name),
      { shape, data: new Float32Array(tf.util.sizeFromShape(shape)) },
    ]),
  );
}

/** Selects tfjs's cpu backend without the banner that it prints at its first tensor. */
export async function useCpuBackend(): Promise<void> {
  await tf.setBackend('cpu');
  // IS_TEST suppresses the banner, but while it is set, tfjs reports saved tensors as leaks.
  tf.env().set('IS_TEST', true);
  tf.scalar(0).dispose();
  tf.env().set('IS_TEST', false);
}

/** ‖actual − expected‖ / max(‖expected‖, minNorm) */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>, minNorm = 1e-15): number {
  assert.equal(actual.length, expected.length);
  return norm(Array.from(expected, (value, i) => actual[i]! - value)) / Math.max(norm(expected), minNorm);
}

/** The L2 norm. */
export function norm(x: ArrayLike<number>): number {
  return Math.sqrt(Array.from(x).reduce((sum, value) => sum + value ** 2, 0));
}
