// Whose the training pairs of a round are: sources, raters and how much each disagrees with the others, and the caps that bit.

import type { PairOrigins, ShareReason } from '../../shared/database/round-types.ts';
import { hashContent } from '../../shared/digest.ts';
import { getTrust } from '../../shared/preferences/trust.ts';
import { getGivingKey, getRater, type Origin } from './pair-shares.ts';
import type { PreferencePair } from './pairs.ts';

type Pair = Origin & Pick<PreferencePair, 'prompt' | 'chosen' | 'rejected'>;

/** Raters that a round names. */
const MAX_RATERS = 20;

/** `used`: the training pairs; `leftOut`: those that were left out, with the reason; `judged`: all pairs that the round found. */
export function describeOrigins<P extends Pair>(
  used: readonly P[],
  leftOut: ReadonlyMap<P, ShareReason>,
  judged: readonly P[],
): PairOrigins {
  const capped = [...leftOut.keys()];
  const overRater = Map.groupBy(
    capped.filter((pair) => leftOut.get(pair) === 'rater_share'),
    getRater,
  );
  const overSource = Map.groupBy(
    capped.filter((pair) => leftOut.get(pair) === 'source_share'),
    getGivingKey,
  );
  const byRater = Map.groupBy(used, getRater);
  byRater.delete(null);
  const raters = [...byRater].map(([rater, own]) => ({ own, capped: overRater.get(rater)?.length ?? 0 }));
  const bySize = raters.sort((a, b) => b.own.length + b.capped - a.own.length - a.capped).slice(0, MAX_RATERS);
  const countDisagreement = findDisagreement(judged);
  return {
    sources: countBy(used, ({ source }) => source),
    trust: countBy(used, getTrust),
    rater_count: byRater.size,
    raters: bySize.map(({ own, capped }) => ({
      tenant: own[0]!.tenant,
      rater: own[0]!.rater,
      pairs: own.length,
      capped,
      disagreement: countDisagreement(getRater(own[0]!)!),
    })),
    capped_keys: [...overSource].map(([key, over]) => ({
      tenant: over[0]!.tenant,
      key: key!,
      pairs: used.filter((pair) => getGivingKey(pair) === key).length,
      capped: over.length,
    })),
  };
}

function countBy<Item>(items: readonly Item[], getKey: (item: Item) => string): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(items, getKey)].map(([key, own]) => [key, own.length]));
}

/**
 * By rater, the share of its pairs on which most of the others chose the other side, of those pairs whose prompt and sides
 * others judged too; null if there are none.
 */
function findDisagreement(pairs: readonly Pair[]): (rater: string) => number | null {
  const votes = pairs.map((pair) => ({
    rater: getRater(pair),
    question: hashContent([pair.prompt, ...[pair.chosen, pair.rejected].sort()]),
    choice: pair.chosen < pair.rejected,
  }));
  const byQuestion = Map.groupBy(votes, ({ question }) => question);
  const byRater = Map.groupBy(votes, ({ rater }) => rater);
  return (rater) => {
    const judged = byRater.get(rater)!.flatMap(({ question, choice }) => {
      const others = byQuestion.get(question)!.filter((vote) => vote.rater !== rater);
      const against = others.filter((vote) => vote.choice !== choice).length;
      return others.length > 0 ? [against > others.length / 2] : [];
    });
    return judged.length > 0 ? judged.filter(Boolean).length / judged.length : null;
  };
}
