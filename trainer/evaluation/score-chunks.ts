// Scores many sequences, or evaluates many pairs, with an engine, a chunk at a time, so that the caller can report progress
// and be stopped between two.
import type { Engine, PairOutcome, Sequence, TrainPair } from '../engine/engine.ts';

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

/** As `Engine.evaluate`, the loss among the metrics; the pairs have no weights. `onChunk`: called after each chunk. */
export async function evaluateInChunks(
  engine: Engine,
  pairs: TrainPair[],
  onChunk: (done: number) => unknown,
): Promise<{ metrics: Record<string, number>; outcomes: PairOutcome[] }> {
  const metrics: Record<string, number> = {};
  const outcomes: PairOutcome[] = [];
  for (let at = 0; at < pairs.length; at += CHUNK_SEQUENCES / 2) {
    const report = await engine.evaluate(pairs.slice(at, at + CHUNK_SEQUENCES / 2));
    for (const [name, mean] of Object.entries({ loss: report.loss, ...report.metrics }))
      metrics[name] = (metrics[name] ?? 0) + (mean * report.pairs) / pairs.length;
    outcomes.push(...report.outcomes);
    await onChunk(outcomes.length);
  }
  return { metrics, outcomes };
}
