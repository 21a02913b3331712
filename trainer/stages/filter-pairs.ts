// Tokenizes the pairs of a round, and leaves out those that it cannot use or that its settings exclude.
import type { PairCounts } from '../../shared/database/round-types.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { assessPairs, countReasons, findFlaws, weighPair } from '../data/pair-quality.ts';
import type { RoundPair } from '../data/round-pairs.ts';
import { getStaleness } from '../data/staleness.ts';
import { type TokenizedPair, tokenizePair } from '../data/tokens.ts';

/** `weight`: of a training pair in the loss. */
export type SelectedPair = { pair: RoundPair; tokens: TokenizedPair; staleness: number | null; weight: number };

export type FilteredPairs = {
  pairs: SelectedPair[];
  left_out: Omit<PairCounts['left_out'], 'over_limit'>;
  quality: PairCounts['quality'];
};

/** `ancestors`: the staleness of what each policy sampled. */
export function filterPairs(
  candidates: RoundPair[],
  ancestors: ReadonlyMap<string, number>,
  tokenizer: Tokenizer,
  architecture: Architecture,
  config: RoundSettings,
): FilteredPairs {
  const left_out = { stale: 0, identical: 0, empty: 0, ...countReasons([]) };
  const usable: SelectedPair[] = [];
  for (const pair of candidates) {
    const staleness = getStaleness(pair, ancestors);
    const isStale = config.max_staleness !== null && staleness !== null && staleness > config.max_staleness;
    const tokens = isStale ? 'stale' : tokenizePair(pair, tokenizer, architecture, config);
    if (typeof tokens === 'string') left_out[tokens]++;
    else usable.push({ pair, tokens, staleness, weight: 1 });
  }
  const votes = usable.map(({ pair: { rater }, tokens: { chosen, rejected } }) => ({ chosen, rejected, rater }));
  const qualities = assessPairs(votes, config);
  const pairs = usable.flatMap((selected, at) => {
    const weight = selected.pair.split === 'train' ? weighPair(qualities[at]!, config) : 1;
    if (typeof weight === 'number') return [{ ...selected, weight }];
    left_out[weight]++;
    return [];
  });
  return { pairs, left_out, quality: countReasons(qualities.flatMap(findFlaws)) };
}
