// Whether the held-out pairs of a round will be enough for its gate, before it runs: from the effect that the latest
// evaluated round showed, or from a typical one.
import { and, desc, isNotNull, ne } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import type { GateReport, PairCounts } from '../../shared/database/round-types.ts';
import { rounds } from '../../shared/database/schema.ts';
import { estimatePassProbability, findEffect, findNeededPrompts, MAX_HELD_OUT } from '../evaluation/gate-power.ts';

/** Of truly better candidates among simulated rounds of some 190 pairs (docs/LOG.md, “What a gate can see”). */
const TYPICAL_EFFECT = 0.17;

/** `22 held-out prompts: a policy as good as that of round_… would pass 31 times in 100; 110 would make it 80` */
export async function describeGateOutlook(db: Database, { held_out_prompts: prompts }: PairCounts): Promise<string> {
  const latest = await findLatestEffect(db);
  const { effect, source } = latest ?? {
    effect: TYPICAL_EFFECT,
    source: 'as good as those of simulated raters in our measurements',
  };
  const percent = Math.round(100 * estimatePassProbability(prompts, effect));
  const needed = findNeededPrompts(effect)!;
  const limit = needed > MAX_HELD_OUT ? `, more than the ${MAX_HELD_OUT} pairs that a round evaluates` : '';
  const advice = needed > prompts ? `; ${needed} held-out prompts would make it 80${limit}` : '';
  return `${prompts} held-out prompts: a policy ${source} would pass about ${percent} times in 100${advice}`;
}

/** Of the latest round that its gate has judged, if its policy was an improvement at all. */
async function findLatestEffect(db: Database): Promise<{ effect: number; source: string } | null> {
  const [round] = await db
    .select({ id: rounds.id, gate: rounds.gate, pairs: rounds.pairs })
    .from(rounds)
    .where(and(isNotNull(rounds.gate), isNotNull(rounds.pairs), ne(rounds.stage, 'failed')))
    .orderBy(desc(rounds.id))
    .limit(1);
  const effect = round ? readEffect(round.gate!, round.pairs!) : null;
  return effect !== null && effect > 0 ? { effect, source: `as good as that of ${round!.id}` } : null;
}

function readEffect({ checks }: GateReport, { held_out_prompts: prompts }: PairCounts): number | null {
  const improvement = checks.find(({ name }) => name === 'improvement');
  if (!improvement || improvement.measured === null) return null;
  return findEffect({ value: improvement.measured, interval: improvement.interval }, prompts);
}
