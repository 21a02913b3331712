// Where a prompt is cut into the chunks that are computed one after the other. It depends on the prompt alone: sums are
// rounded differently where they are cut differently, and what a generation says must not depend on its neighbours.

/** Long enough to be efficient, short enough that others keep streaming. */
export const CHUNK_TOKENS = 128;

/** A shorter beginning is not worth a chunk of its own. */
const MIN_SHARED_TOKENS = 16;

/** The end of each chunk. What prompts share ends with a chunk, so that it can be kept for the next one. */
export function planChunks(length: number, sharedLength: number): number[] {
  const shared = sharedLength >= MIN_SHARED_TOKENS && sharedLength < length ? sharedLength : 0;
  const ends: number[] = [];
  for (let end = CHUNK_TOKENS; end < shared; end += CHUNK_TOKENS) ends.push(end);
  if (shared > 0) ends.push(shared);
  for (let end = shared + CHUNK_TOKENS; end < length; end += CHUNK_TOKENS) ends.push(end);
  ends.push(length);
  return ends;
}
