// Best-of-n sampling: of several candidates for one prompt the best by a ranker are returned. `mean_logp` is what OpenAI's
// best_of ranks by, `log_ratio` the implicit reward of the policy against its reference, and a reward's id its r(x, y).

import { AttuneError } from '../../shared/error.ts';
import type { FinishEvent, ScoreWaiter } from '../engine/inference.ts';
import { type Candidates, validateCandidates } from '../engine/validate-candidates.ts';
import type { Ports } from '../ports.ts';
import { openReference } from './reference.ts';
import { openReward, validateRewardLength } from './reward.ts';
import { scoreResponses, sum } from './score-responses.ts';

export const BUILT_IN_RANKERS = ['mean_logp', 'log_ratio'] as const;

export type Ranker = {
  name: string;
  /** Throws if candidates of these lengths cannot be scored. */
  validate(candidates: Candidates): void;
  /** One score for each candidate; more is better. */
  score(promptIds: number[], candidates: FinishEvent[], waiter: ScoreWaiter): Promise<number[]>;
};

type RankerPorts = Pick<Ports, 'db' | 'inference'>;

/**
 * Null without a name. Throws if the ranker is unknown, cannot be loaded, or cannot rank what the policy generates. What
 * it scores with is loaded again when it is needed: by then others may have taken its place.
 */
export async function openRanker(ports: RankerPorts, policyId: string, name: string | null): Promise<Ranker | null> {
  if (name === null) return null;
  if (name === 'mean_logp') return rankByMeanLogp;
  return name === 'log_ratio' ? openLogRatio(ports, policyId) : openRewardRanker(ports, policyId, name);
}

const rankByMeanLogp: Ranker = {
  name: 'mean_logp',
  validate() {},
  score: async (_, candidates) => candidates.map(getLogps).map((logps) => sum(logps) / logps.length),
};

async function openLogRatio(ports: RankerPorts, policyId: string): Promise<Ranker> {
  const reference = await openReference(ports, policyId, 'ranker');
  if (!reference)
    throw new AttuneError(
      `ranker: policy ${policyId} has no reference to take log-ratios against, because no round trained it; use another ` +
        'ranker, or a policy that a round published',
      { param: 'ranker', code: 'no_reference' },
    );
  await ports.inference.getScorer(policyId);
  return {
    name: 'log_ratio',
    validate: (candidates) => validateCandidates(candidates, reference),
    async score(promptIds, candidates, waiter) {
      const pairs = candidates.map((candidate) => ({ promptIds, responseIds: getResponseIds(candidate) }));
      const scorers = await Promise.all([policyId, reference.id].map((id) => ports.inference.getScorer(id)));
      const [logps, refLogps] = await Promise.all(scorers.map((scorer) => scoreResponses(scorer, pairs, waiter)));
      return candidates.map((_, at) => sum(logps![at]!) - sum(refLogps![at]!));
    },
  };
}

async function openRewardRanker(ports: RankerPorts, policyId: string, id: string): Promise<Ranker> {
  const reward = await openReward(ports, policyId, 'ranker', id);
  return {
    name: id,
    validate: ({ promptLength, maxTokens, fields }) =>
      validateRewardLength(promptLength + maxTokens, reward, fields.maxTokens),
    async score(promptIds, candidates, waiter) {
      const rows = candidates.map((candidate) => [...promptIds, ...getResponseIds(candidate)]);
      return (await ports.inference.getReward(id)).score(rows, waiter);
    },
  };
}

/** With the end-of-text token: stopping is part of the sample, as the trainer reads it. */
function getResponseIds({ tokenIds, stop }: FinishEvent): number[] {
  return stop ? [...tokenIds, stop.tokenId] : tokenIds;
}

function getLogps({ logprobs, stop }: FinishEvent): number[] {
  return stop ? [...logprobs, stop.logprob] : logprobs;
}

/** The indices of the `n` largest scores, the largest first; of equal ones the lower index. */
export function selectBest(scores: number[], n: number): number[] {
  return Array.from(scores.keys())
    .sort((a, b) => scores[b]! - scores[a]! || a - b)
    .slice(0, n);
}
