// The shares of a round: of its pairs, one rater or one key that gives texts may have only so many, so that a flood of votes
// decides no more than its share. A cap is found by filling up: the largest number c such that c is within the share of the
// pairs that are left when nobody has more than c.

import { OPERATOR_ORIGINS } from '../../shared/access/owner.ts';
import type { ShareReason } from '../../shared/database/round-types.ts';
import type { PreferencePair, PreferenceRow } from './pairs.ts';
import { takeTurns } from './replay.ts';

/** Whose a pair is. */
export type Origin = Pick<PreferenceRow, 'tenant' | 'rater' | 'source' | 'created_by'> &
  Partial<Pick<PreferencePair, 'isSteered'>>;
export type Shares = { rater: number; source: number };

const EPSILON = 1e-9;
/** Raters of votes, with whom a key that gives texts is compared. */
const MIN_VOTERS = 4;

/** null: an imported row that names nobody. */
export function getRater({ tenant, rater, source }: Origin): string | null {
  return source === 'import' && rater === 'import' ? null : JSON.stringify([tenant, rater]);
}

/**
 * The key that gave a pair: as texts, or by having a response generated again. null: votes, and edits of raters who signed in,
 * which count to their share; and what only an operator of this machine can have stored.
 */
export function getGivingKey({ source, rater, created_by, isSteered }: Origin): string | null {
  const isOfRater = source === 'demonstration' && rater.startsWith('rater_');
  const isGiven = (source !== 'comparison' && source !== 'generations' && !isOfRater) || isSteered;
  return isGiven && !OPERATOR_ORIGINS.has(created_by) ? created_by : null;
}

/** In turns over the keys that stored them, and over the raters of each key, so that any beginning of them is spread. */
export function orderInTurns<Pair extends Origin>(
  pairs: readonly Pair[],
  orderWithin: (ofRater: Pair[]) => Pair[] = (ofRater) => ofRater,
): Pair[] {
  const byKey = Map.groupBy(pairs, ({ tenant, created_by }) => JSON.stringify([tenant, created_by]));
  const orders = [...byKey.values()].map((ofKey) => {
    const byRater = Map.groupBy(ofKey, ({ tenant, rater }) => JSON.stringify([tenant, rater]));
    return takeTurns([...byRater.values()].map(orderWithin));
  });
  return takeTurns(orders);
}

/**
 * By pair that has to be left out, why. Of a rater's and of a key's pairs the first ones stay. Afterwards no rater has more than
 * its share, once there are enough raters to fill a round at that share, nor any key that gives texts, once four raters vote.
 */
export function findOverShare<Pair extends Origin>(pairs: readonly Pair[], shares: Shares): Map<Pair, ShareReason> {
  const leftOut = new Map<Pair, ShareReason>();
  let kept = [...pairs];
  // Whoever is left out makes the round smaller, and so the others' shares larger.
  for (let before = Infinity; kept.length < before; ) {
    before = kept.length;
    for (const reason of ['source_share', 'rater_share'] as const) {
      const over = reason === 'source_share' ? findOverSource(kept, shares) : findOverRater(kept, shares);
      for (const pair of over) leftOut.set(pair, reason);
      kept = kept.filter((pair) => !leftOut.has(pair));
    }
  }
  return leftOut;
}

/** The largest c ≤ max(counts) with c ≤ share · (others + Σ min(count, c)). */
export function findCap(counts: readonly number[], share: number, others = 0): number {
  const fits = (cap: number) =>
    cap <= share * counts.reduce((sum, count) => sum + Math.min(count, cap), others) + EPSILON;
  // The right side is concave in c, and both are 0 or more at 0: what fits is an interval from 0.
  let [low, high] = [0, counts.reduce((max, count) => Math.max(max, count), 0)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** A smaller team trusts whoever gives it texts, and a single vote does not cost it the work of its own backend. */
function findOverSource<Pair extends Origin>(pairs: readonly Pair[], { source }: Shares): Pair[] {
  const { groups, others } = groupPairs(pairs, getGivingKey);
  const voters = new Set(pairs.flatMap((pair) => (getGivingKey(pair) === null ? (getRater(pair) ?? []) : [])));
  return voters.size >= MIN_VOTERS ? dropOver(groups, source, others) : [];
}

function findOverRater<Pair extends Origin>(pairs: readonly Pair[], { rater }: Shares): Pair[] {
  const { groups, others } = groupPairs(pairs, getRater);
  if (groups.length * rater < 1 - EPSILON) return [];
  const share = Math.max(rater, 1 / countActive(groups.map(({ length }) => length)));
  return dropOver(groups, share, others);
}

/**
 * The raters with at least half as many pairs as the median rater. Those with less do not make the round smaller: with 100,
 * 100, 100 and 1 pairs of four raters, a quarter for each would leave four pairs, and a third leaves all.
 */
function countActive(counts: readonly number[]): number {
  const median = counts.toSorted((a, b) => a - b)[Math.floor((counts.length - 1) / 2)]!;
  return counts.filter((count) => 2 * count >= median).length;
}

function groupPairs<Pair>(pairs: readonly Pair[], getGroup: (pair: Pair) => string | null) {
  const groups = Map.groupBy(pairs, getGroup);
  const others = groups.get(null)?.length ?? 0;
  groups.delete(null);
  return { groups: [...groups.values()], others };
}

function dropOver<Pair>(groups: readonly Pair[][], share: number, others: number): Pair[] {
  const cap = findCap(
    groups.map(({ length }) => length),
    share,
    others,
  );
  return groups.flatMap((own) => own.slice(cap));
}
