// Stage 2: the reference's log-probabilities of each pair. They are computed once and stored in Postgres under a
// fingerprint of everything that determines them: the reference, its tokenizer, and the tokens, which include the chat
// template. So are the rewards of a distillation, one number a response.

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
import type { PlannedSelection } from './round-plan.ts';

export type ScoredPairs = {
  train: TrainPair[];
  heldOut: TrainPair[];
  /** For each held-out pair, the earlier round that learned it; null if it is new. */
  learnedIn: (string | null)[];
};

/** Adds the reference's log-probabilities and, with weighting=importance, the importance weights. */
export async function scorePairs(context: RoundContext, selection: PlannedSelection): Promise<ScoredPairs> {
  const { log, config } = context;
  const { referenceId, tokenizerHash, pairs } = selection;
  await log.enterStage('scoring', `scoring ${pairs.length} pairs with the reference ${referenceId}`);
  const scores = await scoreOnce(
    log.db,
    { id: referenceId, tokenizerHash, open: () => openPolicyEngine(context, selection, referenceId, 'score') },
    pairs.map(({ tokens }) => tokens),
    (done, total) => log.reportProgress('scoring', done, total, 'pairs'),
  );
  let scored = pairs.map(
    ({ tokens: { chosen, rejected } }, at): TrainPair => ({
      chosen,
      rejected,
      refChosenLogps: scores[at]!.chosen,
      refRejectedLogps: scores[at]!.rejected,
    }),
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

/** The policy or reward that scores. */
type Scorer = { id: string; tokenizerHash: string };
type Responses = Pick<TokenizedPair, 'chosen' | 'rejected'>;
type Scores = Map<string, { chosen: number[]; rejected: number[] }>;

/** The stored scores of the pairs, by fingerprint. */
export async function findScores(
  db: Database,
  scorer: Scorer,
  pairs: Responses[],
): Promise<{ fingerprints: string[]; scores: Scores }> {
  const fingerprints = pairs.map(({ chosen, rejected }) =>
    hashContent([scorer.id, scorer.tokenizerHash, chosen, rejected]),
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

/** The scores of each pair: those that are stored, and the others by the scorer, which stores them. */
export async function scoreOnce(
  db: Database,
  scorer: Scorer & { open(): Promise<Engine> },
  pairs: Responses[],
  onProgress: (done: number, total: number) => void,
): Promise<{ chosen: Float32Array; rejected: Float32Array }[]> {
  const { fingerprints, scores } = await findScores(db, scorer, pairs);
  const missing = pairs
    .map((pair, at) => ({ pair, fingerprint: fingerprints[at]! }))
    .filter(({ fingerprint }) => !scores.has(fingerprint));
  if (missing.length > 0) {
    const engine = await scorer.open();
    try {
      const sequences = missing.flatMap(({ pair }) => [pair.chosen, pair.rejected]);
      await scoreInChunks(engine, sequences, async (done, logps) => {
        const chunk = missing.slice((done - logps.length) / 2, done / 2);
        const rows = chunk.map(({ fingerprint }, index) => ({
          fingerprint,
          reference_id: scorer.id,
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
  return fingerprints.map((fingerprint) => {
    const { chosen, rejected } = scores.get(fingerprint)!;
    return { chosen: Float32Array.from(chosen), rejected: Float32Array.from(rejected) };
  });
}
