// Chunked prefill: splits a prompt into chunks that are computed one after the other. The split depends on the
// prompt alone: sums round differently over different chunks, and a generation must not depend on its batch.

/** Long enough to be efficient, short enough that other generations keep streaming. */
export const CHUNK_TOKENS = 128;

/** A shorter shared prefix does not get its own chunk. */
const MIN_SHARED_TOKENS = 16;

/** Returns the end of each chunk. A shared prefix ends on a chunk boundary, so that the prefix cache can reuse it. */
export function planChunks(length: number, sharedLength: number): number[] {
  const shared = sharedLength >= MIN_SHARED_TOKENS && sharedLength < length ? sharedLength : 0;
  const ends: number[] = [];
  for (let end = CHUNK_TOKENS; end < shared; end += CHUNK_TOKENS) ends.push(end);
  if (shared > 0) ends.push(shared);
  for (let end = shared + CHUNK_TOKENS; end < length; end += CHUNK_TOKENS) ends.push(end);
  ends.push(length);
  return ends;
}
