// How long a sequence can become within the memory for keys and values, and what a choice may come to need of it.
import {
  allocatedLengthFor,
  type KvShape,
  kvBytesPerPosition,
  maxLengthWithin,
} from '../../shared/decoder/kv-cache.ts';
import type { Architecture } from '../../shared/model/architecture.ts';

/** Prompt and answer together: the policy's context, or less where not even one row of it has room. */
export function maxSequenceLength(kvMemory: number, architecture: Architecture): number {
  const fitting = maxLengthWithin(Math.floor(kvMemory / kvBytesPerPosition(architecture)));
  return Math.min(architecture.contextLength, fitting);
}

/** What a row takes once it is as long as it can become. */
export function reservedKvBytes(shape: KvShape, reach: number, promptLength: number, maxTokens: number): number {
  return allocatedLengthFor(Math.min(promptLength + maxTokens, reach)) * kvBytesPerPosition(shape);
}
