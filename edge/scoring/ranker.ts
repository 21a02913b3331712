// Best-of-n sampling: of several candidates for one prompt the best by a ranker are returned. `mean_logp` is what OpenAI's
// best_of ranks by, `log_ratio` the implicit reward of the policy against its reference, and a reward's id its r(x, y).

import { AttuneError } from '../../shared/error.ts';
import type { FinishEvent } from '../engine/inference.ts';
import { type Candidates, validateCandidates } from '../engine/validate-candidates.ts';
import type { Ports } from '../ports.ts';
import { openReference } from './reference.ts';
import { openReward, validateRewardLength } from './reward.ts';
import { scoreResponses, sum, type Waiting } from './score-responses.ts';

export const BUILT_IN_RANKERS = ['mean_logp', 'log_ratio'] as const;

export type Ranker = {
  name: string;
  /** Throws if candidates of these lengths cannot be scored. */
  validate(candidates: Candidates): void;
  /** One score for each candidate; more is better. */
  score(promptIds: number[], candidates: FinishEvent[], waiting: Waiting): Promise<number[]>;
};

type RankerPorts = Pick<Ports, 'db' | 'inference'>;

/** Null without a name. Throws if the ranker is unknown, or cannot rank what the policy generates. */
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
  const policy = await ports.inference.getScorer(policyId);
  return {
    name: 'log_ratio',
    validate: (candidates) => validateCandidates(candidates, reference),
    async score(promptIds, candidates, waiting) {
      const pairs = candidates.map((candidate) => ({ promptIds, responseIds: getResponseIds(candidate) }));
      const [logps, refLogps] = await Promise.all([
        scoreResponses(policy, pairs, waiting),
        scoreResponses(reference, pairs, waiting),
      ]);
      return candidates.map((_, at) => sum(logps[at]!) - sum(refLogps[at]!));
    },
  };
}

async function openRewardRanker(ports: RankerPorts, policyId: string, id: string): Promise<Ranker> {
  const reward = await openReward(ports, policyId, 'ranker', id);
  return {
    name: id,
    validate: ({ promptLength, maxTokens }) => validateRewardLength(promptLength + maxTokens, reward, 'max_tokens'),
    score: (promptIds, candidates, waiting) =>
      reward.score(
        candidates.map((candidate) => [...promptIds, ...getResponseIds(candidate)]),
        waiting,
      ),
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
