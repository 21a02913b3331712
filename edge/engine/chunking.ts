// Where a prompt is cut into the chunks that are computed one after the other. It depends on the prompt alone: sums are
// rounded differently where they are cut differently, and what a generation says must not depend on its neighbours.

/** Long enough to be efficient, short enough that others keep streaming. */
export const CHUNK = 128;

/** A shorter beginning is not worth a chunk of its own. */
const LEAST_SHARED = 16;

/** The end of each chunk. What prompts share ends with a chunk, so that it can be kept for the next one. */
export function planChunks(length: number, sharedLength: number): number[] {
  const shared = sharedLength >= LEAST_SHARED && sharedLength < length ? sharedLength : 0;
  const ends: number[] = [];
  for (let end = CHUNK; end < shared; end += CHUNK) ends.push(end);
  if (shared > 0) ends.push(shared);
  for (let end = shared + CHUNK; end < length; end += CHUNK) ends.push(end);
  ends.push(length);
  return ends;
}
