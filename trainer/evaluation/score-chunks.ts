// Scores many sequences with an engine, a chunk at a time, so that the caller can report progress and be stopped between two.
import type { Engine, Sequence } from '../engine/engine.ts';

/** Even, so that both responses of a pair are in one chunk. */
const CHUNK_SEQUENCES = 64;

/** As `Engine.score`. `onChunk`: called after each chunk with its scores. */
export async function scoreInChunks(
  engine: Engine,
  sequences: Sequence[],
  onChunk: (done: number, scores: Float32Array[]) => unknown,
): Promise<Float32Array[]> {
  const scores: Float32Array[] = [];
  for (let at = 0; at < sequences.length; at += CHUNK_SEQUENCES) {
    const chunk = await engine.score(sequences.slice(at, at + CHUNK_SEQUENCES));
    scores.push(...chunk);
    await onChunk(scores.length, chunk);
  }
  return scores;
}
