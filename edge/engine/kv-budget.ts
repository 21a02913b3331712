// How long a sequence can become within the memory for keys and values, and what a choice may come to need of it.
import { allocatedFor, type KvShape, lengthWithin, positionBytes } from '../../shared/decoder/kv-cache.ts';
import type { Architecture } from '../../shared/model/architecture.ts';

/** Prompt and answer together: the policy's context, or less where not even one row of it has room. */
export function reachWithin(kvMemory: number, architecture: Architecture): number {
  const fitting = lengthWithin(Math.floor(kvMemory / positionBytes(architecture)));
  return Math.min(architecture.contextLength, fitting);
}

/** What a row takes once it is as long as it can become. */
export function rowBytes(shape: KvShape, reach: number, promptLength: number, maxTokens: number): number {
  return allocatedFor(Math.min(promptLength + maxTokens, reach)) * positionBytes(shape);
}
