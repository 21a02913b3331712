// The reference's log-probabilities of each pair, computed once and kept in Postgres under a fingerprint of all that
// they depend on: the reference, its tokenizer, and the very tokens (which hold the template's doing).

import { inArray } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { reference_logps } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import type { TokenPair } from '../data/tokens.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';

const CHUNK = 64;

type Scores = Map<string, { chosen: number[]; rejected: number[] }>;

/** What the reference has scored before, by the fingerprints of the pairs. */
export async function findScores(
  db: Database,
  reference: { id: string; tokenizerHash: string },
  pairs: TokenPair[],
): Promise<{ fingerprints: string[]; known: Scores }> {
  const fingerprints = await Promise.all(
    pairs.map(({ chosen, rejected }) => hashContent([reference.id, reference.tokenizerHash, chosen, rejected])),
  );
  const known: Scores = new Map();
  for (let at = 0; at < fingerprints.length; at += 1000) {
    const rows = await db
      .select()
      .from(reference_logps)
      .where(inArray(reference_logps.fingerprint, fingerprints.slice(at, at + 1000)));
    for (const row of rows) known.set(row.fingerprint, { chosen: row.chosen_logps, rejected: row.rejected_logps });
  }
  return { fingerprints, known };
}

/** Every pair with its reference log-probabilities. Runs the reference only for pairs that it has not scored yet. */
export async function scoreReference(
  db: Database,
  reference: { id: string; tokenizerHash: string; open(): Promise<Engine> },
  pairs: TokenPair[],
  onProgress: (done: number, total: number) => Promise<void>,
): Promise<TrainPair[]> {
  const { fingerprints, known } = await findScores(db, reference, pairs);
  const missing = pairs
    .map((pair, at) => ({ pair, fingerprint: fingerprints[at]! }))
    .filter((item) => !known.has(item.fingerprint));
  if (missing.length > 0) {
    const engine = await reference.open();
    try {
      for (let at = 0; at < missing.length; at += CHUNK) {
        const chunk = missing.slice(at, at + CHUNK);
        const logps = await engine.score(chunk.flatMap(({ pair }) => [pair.chosen, pair.rejected]));
        const rows = chunk.map(({ fingerprint }, index) => ({
          fingerprint,
          reference_id: reference.id,
          chosen_logps: [...logps[2 * index]!],
          rejected_logps: [...logps[2 * index + 1]!],
        }));
        await db.insert(reference_logps).values(rows).onConflictDoNothing();
        for (const row of rows) known.set(row.fingerprint, { chosen: row.chosen_logps, rejected: row.rejected_logps });
        await onProgress(at + chunk.length, missing.length);
      }
    } finally {
      await engine.close();
    }
  }
  return pairs.map((pair, at) => {
    const logps = known.get(fingerprints[at]!)!;
    return {
      chosen: pair.chosen,
      rejected: pair.rejected,
      refChosenLogps: Float32Array.from(logps.chosen),
      refRejectedLogps: Float32Array.from(logps.rejected),
    };
  });
}
