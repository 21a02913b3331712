// Tokenizes the pairs of a round, and leaves out those that it cannot use, that its settings exclude, or that exceed the share of
// one rater or key.
import { type PairCounts, SHARE_REASONS, type ShareReason } from '../../shared/database/round-types.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { toHeldOutShares } from '../data/held-out-pairs.ts';
import { assessPairs, countReasons, findFlaws, weighPair } from '../data/pair-quality.ts';
import { findOverShare, orderInTurns, type Shares } from '../data/pair-shares.ts';
import type { RoundPair } from '../data/round-pairs.ts';
import { getStaleness } from '../data/staleness.ts';
import { type TokenizedPair, tokenizePair } from '../data/tokens.ts';

/** `weight`: of a training pair in the loss. */
export type SelectedPair = { pair: RoundPair; tokens: TokenizedPair; staleness: number | null; weight: number };

export type FilteredPairs = {
  pairs: SelectedPair[];
  left_out: Omit<PairCounts['left_out'], 'over_limit'>;
  quality: PairCounts['quality'];
  /** Those over a share. */
  overShare: Map<RoundPair, ShareReason>;
};

/** `ancestors`: the staleness of what each policy sampled. */
export function filterPairs(
  candidates: RoundPair[],
  ancestors: ReadonlyMap<string, number>,
  tokenizer: Tokenizer,
  architecture: Architecture,
  config: RoundSettings,
  shares: Shares,
): FilteredPairs {
  const left_out = { stale: 0, identical: 0, empty: 0, rater_share: 0, source_share: 0, ...countReasons([]) };
  const usable: SelectedPair[] = [];
  for (const pair of candidates) {
    const staleness = getStaleness(pair, ancestors);
    const isStale = config.max_staleness !== null && staleness !== null && staleness > config.max_staleness;
    const tokens = isStale ? 'stale' : tokenizePair(pair, tokenizer, architecture, config);
    if (typeof tokens === 'string') left_out[tokens]++;
    else usable.push({ pair, tokens, staleness, weight: 1 });
  }
  const overShare = findOverShares(usable, shares);
  // A flood does not outvote anyone either.
  const limited = usable.filter(({ pair }) => !overShare.has(pair));
  const votes = limited.map(({ pair: { rater }, tokens: { chosen, rejected } }) => ({ chosen, rejected, rater }));
  const qualities = assessPairs(votes, config);
  const assessed = limited.flatMap((selected, at) => {
    const weight = selected.pair.split === 'train' ? weighPair(qualities[at]!, config) : 1;
    if (typeof weight === 'number') return [{ ...selected, weight }];
    left_out[weight]++;
    return [];
  });
  // Once more, because those of low quality were the others' part of the round.
  for (const [pair, reason] of findOverShares(assessed, shares)) overShare.set(pair, reason);
  for (const reason of SHARE_REASONS)
    left_out[reason] = [...overShare.values()].filter((each) => each === reason).length;
  const pairs = assessed.filter(({ pair }) => !overShare.has(pair));
  return { pairs, left_out, quality: countReasons(qualities.flatMap(findFlaws)), overShare };
}

/** Of held-out pairs, in the order in which limitHeldOut chose them; of training pairs the newest stay. */
function findOverShares(selected: readonly SelectedPair[], shares: Shares): Map<RoundPair, ShareReason> {
  const ofSplit = (split: RoundPair['split']) => selected.flatMap(({ pair }) => (pair.split === split ? [pair] : []));
  return new Map([
    ...findOverShare(orderInTurns(ofSplit('train')), shares),
    ...findOverShare(ofSplit('held_out'), toHeldOutShares(shares)),
  ]);
}
