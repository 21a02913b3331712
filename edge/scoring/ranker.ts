// Best-of-n sampling: of several candidates for one prompt the best by a ranker are returned. `mean_logp` is what OpenAI's
// best_of ranks by, `log_ratio` the implicit reward of the policy against its reference.

import { AttuneError } from '../../shared/error.ts';
import type { FinishEvent, LoadedPolicy } from '../engine/inference.ts';
import { notFound } from '../http/errors.ts';
import type { Ports } from '../ports.ts';
import { openReference } from './reference.ts';
import { scoreResponses, sum, type Waiting } from './score-responses.ts';

export const BUILT_IN_RANKERS = ['mean_logp', 'log_ratio'] as const;

export type Ranker = {
  name: string;
  /** What computes the candidates' scores besides the policy that generates them. */
  policies: LoadedPolicy[];
  /** One score for each candidate; more is better. */
  score(promptIds: number[], candidates: FinishEvent[], waiting: Waiting): Promise<number[]>;
};

/** Null without a name. Throws if the ranker is unknown, or cannot rank what the policy generates. */
export async function openRanker(
  ports: Pick<Ports, 'db' | 'inference'>,
  policyId: string,
  name: string | null,
): Promise<Ranker | null> {
  if (name === null) return null;
  if (name === 'mean_logp')
    return { name, policies: [], score: async (_, candidates) => candidates.map(getLogps).map(mean) };
  if (name !== 'log_ratio') throw notFound('reward', name, 'ranker');
  const reference = await openReference(ports, policyId, 'ranker');
  if (!reference)
    throw new AttuneError(
      `ranker: policy ${policyId} has no reference to take log-ratios against, because no round trained it; use another ` +
        'ranker, or a policy that a round published',
      { param: 'ranker', code: 'no_reference' },
    );
  return {
    name,
    policies: [reference],
    async score(promptIds, candidates, waiting) {
      const pairs = candidates.map((candidate) => ({ promptIds, responseIds: getResponseIds(candidate) }));
      const refLogps = await scoreResponses(reference, pairs, waiting);
      return candidates.map((candidate, at) => sum(getLogps(candidate)) - sum(refLogps[at]!));
    },
  };
}

/** With the end-of-text token: stopping is part of the sample, as the trainer reads it. */
export function getResponseIds({ tokenIds, stop }: FinishEvent): number[] {
  return stop ? [...tokenIds, stop.tokenId] : tokenIds;
}

function getLogps({ logprobs, stop }: FinishEvent): number[] {
  return stop ? [...logprobs, stop.logprob] : logprobs;
}

function mean(values: number[]): number {
  return sum(values) / values.length;
}

/** The indices of the `n` largest scores, the largest first; of equal ones the lower index. */
export function selectBest(scores: number[], n: number): number[] {
  return Array.from(scores.keys())
    .sort((a, b) => scores[b]! - scores[a]! || a - b)
    .slice(0, n);
}
