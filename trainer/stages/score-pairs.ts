// Stage 2: the reference's log-probabilities of each pair. They are computed once and stored in Postgres under a
// fingerprint of everything that determines them: the reference, its tokenizer, and the tokens, which include the chat
// template.

import { inArray } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { reference_logps } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import type { TokenizedPair } from '../data/tokens.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';
import { scoreInChunks } from '../evaluation/score-chunks.ts';
import { weightPairs } from './importance.ts';
import { logImportance } from './messages.ts';
import { openPolicyEngine } from './policy-engine.ts';
import type { RoundContext } from './round-context.ts';
import type { Selection } from './select-pairs.ts';

export type ScoredPairs = {
  train: TrainPair[];
  heldOut: TrainPair[];
  /** For each held-out pair, the earlier round that learned it; null if it is new. */
  learnedIn: (string | null)[];
};

/** Adds the reference's log-probabilities and, with weighting=importance, the importance weights. */
export async function scorePairs(context: RoundContext, selection: Selection): Promise<ScoredPairs> {
  const { log, config } = context;
  const { referenceId, tokenizerHash, pairs } = selection;
  await log.enterStage('scoring', `scoring ${pairs.length} pairs with the reference ${referenceId}`);
  let scored = await scoreWithReference(
    log.db,
    { id: referenceId, tokenizerHash, open: () => openPolicyEngine(context, selection, referenceId, 'score') },
    pairs.map(({ tokens }) => tokens),
    (done, total) => log.reportProgress('scoring', done, total, 'pairs'),
  );
  if (config.weighting === 'importance') {
    const weighted = weightPairs(config, pairs, scored);
    scored = weighted.pairs;
    await logImportance(log, weighted, config.weight_cap);
  }
  scored = scored.map((pair, at) => ({ ...pair, weight: pairs[at]!.weight }));
  return {
    train: scored.filter((_, at) => pairs[at]!.pair.split === 'train'),
    heldOut: scored.filter((_, at) => pairs[at]!.pair.split === 'held_out'),
    learnedIn: pairs.flatMap(({ pair }) => (pair.split === 'held_out' ? [pair.learnedIn] : [])),
  };
}

type Reference = { id: string; tokenizerHash: string };
type Scores = Map<string, { chosen: number[]; rejected: number[] }>;

/** The stored scores of the pairs, by fingerprint. */
export async function findScores(
  db: Database,
  reference: Reference,
  pairs: TokenizedPair[],
): Promise<{ fingerprints: string[]; scores: Scores }> {
  const fingerprints = pairs.map(({ chosen, rejected }) =>
    hashContent([reference.id, reference.tokenizerHash, chosen, rejected]),
  );
  const scores: Scores = new Map();
  for (let at = 0; at < fingerprints.length; at += 1000) {
    const rows = await db
      .select()
      .from(reference_logps)
      .where(inArray(reference_logps.fingerprint, fingerprints.slice(at, at + 1000)));
    for (const row of rows) scores.set(row.fingerprint, { chosen: row.chosen_logps, rejected: row.rejected_logps });
  }
  return { fingerprints, scores };
}

/** Runs the reference only for the pairs that it has not scored yet. */
async function scoreWithReference(
  db: Database,
  reference: Reference & { open(): Promise<Engine> },
  pairs: TokenizedPair[],
  onProgress: (done: number, total: number) => void,
): Promise<TrainPair[]> {
  const { fingerprints, scores } = await findScores(db, reference, pairs);
  const missing = pairs
    .map((pair, at) => ({ pair, fingerprint: fingerprints[at]! }))
    .filter(({ fingerprint }) => !scores.has(fingerprint));
  if (missing.length > 0) {
    const engine = await reference.open();
    try {
      const sequences = missing.flatMap(({ pair }) => [pair.chosen, pair.rejected]);
      await scoreInChunks(engine, sequences, async (done, logps) => {
        const chunk = missing.slice((done - logps.length) / 2, done / 2);
        const rows = chunk.map(({ fingerprint }, index) => ({
          fingerprint,
          reference_id: reference.id,
          chosen_logps: [...logps[2 * index]!],
          rejected_logps: [...logps[2 * index + 1]!],
        }));
        await db.insert(reference_logps).values(rows).onConflictDoNothing();
        for (const row of rows) scores.set(row.fingerprint, { chosen: row.chosen_logps, rejected: row.rejected_logps });
        onProgress(done / 2, missing.length);
      });
    } finally {
      await engine.close();
    }
  }
  return pairs.map((pair, at) => {
    const { chosen, rejected } = scores.get(fingerprints[at]!)!;
    return {
      chosen: pair.chosen,
      rejected: pair.rejected,
      refChosenLogps: Float32Array.from(chosen),
      refRejectedLogps: Float32Array.from(rejected),
    };
  });
}
