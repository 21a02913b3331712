// How long a sequence can become within the memory for keys and values, and how much of it a choice reserves.
import { type KvShape, kvBytesPerPosition, kvBytesPerRow, maxLengthWithin } from '../../shared/decoder/kv-cache.ts';
import type { Architecture } from '../../shared/model/architecture.ts';

/** Tokens of prompt and completion together: the policy's context, or less if a row of that length exceeds the memory. */
export function maxSequenceLength(kvMemoryBytes: number, architecture: Architecture): number {
  const maxLength = maxLengthWithin(Math.floor(kvMemoryBytes / kvBytesPerPosition(architecture)));
  return Math.min(architecture.contextLength, maxLength);
}

/** Bytes of a row at its full length: the prompt and maxTokens, at most `maxLength`. */
export function reservedKvBytes(shape: KvShape, maxLength: number, promptLength: number, maxTokens: number): number {
  return kvBytesPerRow(shape, Math.min(promptLength + maxTokens, maxLength));
}
