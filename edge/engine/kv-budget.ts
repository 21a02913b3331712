// How long a sequence can become within the memory for keys and values, and how much of it a choice reserves.
import { kvBytesPerRow, maxLengthWithin } from '../../shared/decoder/kv-cache.ts';

/** `kvBytesPerPosition`: of the policy, for one token of one sequence. */
export type KvBudget = { kvMemoryBytes: number; kvBytesPerPosition: number };

/** Tokens of prompt and completion together: the policy's context, or less if a row of that length exceeds the memory. */
export function maxSequenceLength({ kvMemoryBytes, kvBytesPerPosition }: KvBudget, contextLength: number): number {
  return Math.min(contextLength, maxLengthWithin(Math.floor(kvMemoryBytes / kvBytesPerPosition)));
}

/** Bytes of a row at its full length: the prompt and maxTokens, at most `maxLength`. */
export function reservedKvBytes(
  { kvBytesPerPosition }: Pick<KvBudget, 'kvBytesPerPosition'>,
  maxLength: number,
  promptLength: number,
  maxTokens: number,
): number {
  return kvBytesPerRow(kvBytesPerPosition, Math.min(promptLength + maxTokens, maxLength));
}
