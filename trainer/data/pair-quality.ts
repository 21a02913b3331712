// Which pairs say little, or less than their number: two responses that are nearly the same, votes of one pair that
// contradict each other, and pairs about which several raters disagree. A round reports them; its settings can weigh
// training pairs by it, or leave them out. Held-out pairs are judged as raters gave them, so that what is evaluated does
// not depend on a setting of the training.
import { QUALITY_REASONS, type QualityReason } from '../../shared/database/round-types.ts';
import { editSimilarity } from '../../shared/edit-similarity.ts';
import type { Hyperparameters } from '../../shared/hyperparameters.ts';
import type { Sequence } from '../engine/engine.ts';

export type Vote = { chosen: Sequence; rejected: Sequence; rater: string };

/** Of a vote among others, which may be votes on the same two responses to the same prompt. */
export type PairQuality = {
  /** Edit similarity of the two responses, in tokens; 0 if they are less alike than is asked for. */
  similarity: number;
  /** Votes for this side, its own included, and for the other one. */
  votesFor: number;
  votesAgainst: number;
  /** Different raters who gave these votes. */
  raters: number;
};

export type QualitySettings = Pick<Hyperparameters, 'max_similarity' | 'contradictions' | 'min_agreement'>;

/** Reported from this similarity on, and below this agreement of several raters, whatever the settings are. */
const NEAR_IDENTICAL = 0.9;
const LOW_AGREEMENT = 0.75;

export function assessPairs(votes: readonly Vote[], { max_similarity }: QualitySettings): PairQuality[] {
  const floor = Math.min(NEAR_IDENTICAL, max_similarity);
  const keys = votes.map(toKeys);
  const counts = new Map<string, number>();
  const raters = new Map<string, Set<string>>();
  for (const [at, { rater }] of votes.entries()) {
    const { own, pair } = keys[at]!;
    counts.set(own, (counts.get(own) ?? 0) + 1);
    raters.set(pair, (raters.get(pair) ?? new Set()).add(rater));
  }
  return votes.map(({ chosen, rejected }, at) => {
    const { own, other, pair } = keys[at]!;
    return {
      similarity: editSimilarity(chosen.responseIds, rejected.responseIds, floor),
      votesFor: counts.get(own)!,
      votesAgainst: counts.get(other) ?? 0,
      raters: raters.get(pair)!.size,
    };
  });
}

/** What is wrong with a pair, by the bounds of the report. */
export function findFlaws(quality: PairQuality): QualityReason[] {
  const flaws: QualityReason[] = [];
  if (quality.similarity >= NEAR_IDENTICAL) flaws.push('near_identical');
  if (quality.votesAgainst > 0) flaws.push('contradictory');
  if (quality.raters > 1 && agreement(quality) < LOW_AGREEMENT) flaws.push('low_agreement');
  return flaws;
}

/**
 * The weight of a training pair in the loss, or why it is left out. With contradictions=weigh each vote cancels one for
 * the other side: of three against one the three have the weight 2/3, and the one is left out.
 */
export function weighPair(quality: PairQuality, settings: QualitySettings): number | QualityReason {
  const { similarity, votesFor, votesAgainst, raters } = quality;
  if (similarity > settings.max_similarity) return 'near_identical';
  if (raters > 1 && agreement(quality) < settings.min_agreement) return 'low_agreement';
  if (votesAgainst === 0 || settings.contradictions === 'keep') return 1;
  if (settings.contradictions === 'drop' || votesFor <= votesAgainst) return 'contradictory';
  return (votesFor - votesAgainst) / votesFor;
}

export function countReasons(reasons: readonly QualityReason[]): Record<QualityReason, number> {
  const counts = QUALITY_REASONS.map((name) => [name, reasons.filter((reason) => reason === name).length] as const);
  return Object.fromEntries(counts) as Record<QualityReason, number>;
}

/** The share of the votes that the majority has. */
function agreement({ votesFor, votesAgainst }: PairQuality): number {
  return Math.max(votesFor, votesAgainst) / (votesFor + votesAgainst);
}

/** Equal keys: of `own`, the same choice; of `pair`, the same two responses to one prompt, whichever was chosen. */
function toKeys({ chosen, rejected }: Vote): { own: string; other: string; pair: string } {
  const prompt = chosen.promptIds.join();
  const [own, other] = [
    [chosen, rejected],
    [rejected, chosen],
  ].map((sides) => [prompt, ...sides.map(({ responseIds }) => responseIds.join())].join('|'));
  return { own: own!, other: other!, pair: own! < other! ? own! : other! };
}
