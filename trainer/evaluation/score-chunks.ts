// Scores many sequences with an engine, a chunk at a time, so that the caller can report progress and be stopped between two.
import type { Engine, Sequence } from '../engine/engine.ts';

const CHUNK_SEQUENCES = 64;

/** As `Engine.score`. */
export async function scoreInChunks(
  engine: Engine,
  sequences: Sequence[],
  onProgress: (done: number) => void,
): Promise<Float32Array[]> {
  const scores: Float32Array[] = [];
  for (let at = 0; at < sequences.length; at += CHUNK_SEQUENCES) {
    scores.push(...(await engine.score(sequences.slice(at, at + CHUNK_SEQUENCES))));
    onProgress(scores.length);
  }
  return scores;
}
