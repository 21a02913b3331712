// What a reader of the data must know before using it, as far as its numbers show it.

import type { Datasheet } from './datasheet.ts';

/** A rater with more than this share of the votes is most of what the data says. */
const LARGE_SHARE = 0.2;
/** Above chance, but too little to conclude anything from a single vote (Krippendorff 2019, tentative from 0.667). */
const LOW_ALPHA = 0.667;

export function describeLimits(sheet: Omit<Datasheet, 'limits'>): string[] {
  const { comparisons, votes, raters, agreement, prompts } = sheet;
  const limits: string[] = [];
  if (votes.total === 0) limits.push('Nobody has voted on these comparisons.');
  const unvoted = comparisons.total - comparisons.voted;
  if (unvoted > 0 && votes.total > 0) limits.push(`${unvoted} of ${comparisons.total} comparisons have no vote.`);
  const share = (raters.votes_of_most_active[0] ?? 0) / votes.total;
  if (share > LARGE_SHARE)
    limits.push(
      `One of ${raters.total} raters gave ${formatShare(share)} of the votes, and their taste is a part of the data.`,
    );
  if (raters.by_kind['end user'] + raters.by_kind.other > 0)
    limits.push(
      'Votes of end users are passed on by a product, and those of other names by a key: nobody was invited by name, and one person may have several names.',
    );
  if (votes.total > 0 && agreement.alpha === null)
    limits.push('No two raters voted on the same comparison, so how far raters agree is not known.');
  else if (agreement.alpha !== null && agreement.alpha.value < LOW_ALPHA)
    limits.push(
      `Raters agree little (Krippendorff's α = ${agreement.alpha.value.toFixed(2)}): a single vote is weak evidence; aggregate several of each comparison.`,
    );
  if (votes.by_policy.length === 1)
    limits.push('All responses are of one policy: they compare its samples, and say nothing of other models.');
  if (comparisons.redacted + votes.redacted > 0)
    limits.push(
      'Redacted texts have placeholders for personal data, and no tokens or log-probabilities. Redaction finds patterns, so some personal data may be left.',
    );
  else limits.push('No text was changed by redaction; prompts and comments may have personal data.');
  if (prompts.languages.sampled > 0)
    limits.push(
      `Languages are guessed from the letters of ${prompts.languages.sampled} prompts, and are unreliable for short ones.`,
    );
  return limits;
}

export const formatShare = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
