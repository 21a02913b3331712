// Chunked prefill: splits a prompt into chunks that are computed one after the other. The split depends on the
// prompt alone: sums round differently over different chunks, and a generation must not depend on its batch.

/** Long enough to be efficient, short enough that other generations keep streaming. */
export const CHUNK_TOKENS = 128;

/** A shared prefix that is longer than the one before by less does not get its own chunk. */
const MIN_SHARED_TOKENS = 16;

/** Of a given response every token's logits are computed: chunks of a large vocabulary are shorter. */
const MAX_CHUNK_LOGITS = 2 ** 22;

/** As planChunks, for `length` tokens after a prompt of `promptLength`, whose log-probabilities are wanted. */
export function planScoredChunks(promptLength: number, length: number, vocabSize: number): number[] {
  const chunkTokens = Math.min(CHUNK_TOKENS, Math.max(1, Math.floor(MAX_CHUNK_LOGITS / vocabSize)));
  const ends: number[] = [];
  for (let end = 0; end < length; ) {
    end = Math.min(end + chunkTokens, length);
    ends.push(promptLength + end);
  }
  return ends;
}

/** Returns the end of each chunk. Shared prefixes end on chunk boundaries, so that the prefix cache can reuse them. */
export function planChunks(length: number, sharedLengths: readonly number[]): number[] {
  const ends: number[] = [];
  let start = 0;
  for (const end of [...sharedLengths, length]) {
    if (end < length ? end - start < MIN_SHARED_TOKENS : end > length) continue;
    for (let next = start + CHUNK_TOKENS; next < end; next += CHUNK_TOKENS) ends.push(next);
    if (end > start) ends.push(end);
    start = end;
  }
  return ends;
}
