// What a reader of a leaderboard must know before trusting it.

import { MIN_CLUSTERS } from '../statistics/confidence-interval.ts';
import type { Ranking } from '../statistics/rank-players.ts';

/** `votes`: how many were counted. */
export function describeLimits({ groups, fit, clusteredBy }: Ranking, votes: number, withStyle: boolean): string[] {
  if (votes === 0) return ['There are no votes between two policies.'];
  const notes: string[] = [];
  if (groups.length > 1)
    notes.push(
      `Wins and ties do not connect the policies in both directions: they are ${groups.length} groups, each with a 0 of ` +
        'its own. Between two groups every vote went to the one before, or there is none, so that no finite rating ' +
        'fits, and no rank across groups is certain.',
    );
  if (!fit)
    notes.push(
      withStyle
        ? 'The style features tell who wins, or cannot be told apart, so that no ratings fit with style control.'
        : 'No ratings fit these votes.',
    );
  else if (clusteredBy.length === 0)
    notes.push(
      `There are fewer than ${MIN_CLUSTERS} raters and fewer than ${MIN_CLUSTERS} prompts, too few for intervals.`,
    );
  else if (clusteredBy.length === 1) {
    const [kind, missing] = clusteredBy[0] === 'prompt' ? ['prompt', 'raters'] : ['rater', 'prompts'];
    notes.push(
      `There are fewer than ${MIN_CLUSTERS} ${missing}: the intervals treat votes as alike within a ${kind} only, and say ` +
        `nothing of other ${missing}.`,
    );
  }
  return notes;
}
