// The outcome as plain text: one line per policy, then the verdict in words.

import { mean, quantile } from '../report/statistics.ts';
import { heldOutOf, type Logps, newestOf, type Story } from './story.ts';

export const SIMULATED =
  'The raters are simulated: a program applies a stated taste. No person has voted, and nothing here says what people would like.';

export const percent = (share: number, digits = 1) => (Number.isNaN(share) ? '–' : `${(100 * share).toFixed(digits)}%`);

/** Lines up cells; the first column to the left, the others to the right. */
export function alignRows(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}

export function policyRows(story: Story): string[][] {
  const reference = story.chapters.find((chapter) => chapter.published)?.published?.contest;
  const head = ['policy', 'preferences', 'win rate', '95% interval', 'win/tie/loss', 'score', 'distinct pairs'];
  const first = [
    'reference',
    '',
    percent(0.5),
    '',
    '',
    reference ? reference.referenceScore.toFixed(2) : '',
    reference ? percent(reference.referenceDistinct) : '',
  ];
  const others = story.chapters.map(({ votes, published, round }, at) => {
    const name = `round ${at + 1}`;
    if (!published) return [name, String(votes.strict), round.policy ? '' : 'refused', '', '', '', ''];
    const { contest } = published;
    return [
      name,
      String(votes.strict),
      percent(contest.rate),
      `${percent(contest.low)} – ${percent(contest.high)}`,
      `${contest.wins}/${contest.ties}/${contest.losses}`,
      contest.score.toFixed(2),
      percent(contest.distinct),
    ];
  });
  return [head, first, ...others];
}

const spread = (values: number[]) =>
  `${mean(values).toFixed(3)} [${quantile(values, 0.25).toFixed(3)}, ${quantile(values, 0.75).toFixed(3)}]`;

export function logpRows(story: Story): string[][] {
  const head = [
    'held-out log-probability per token',
    'chosen: mean [quartiles]',
    'rejected: mean [quartiles]',
    'margin',
  ];
  const row = (name: string, { chosen, rejected }: Logps) => [
    name,
    spread(chosen),
    spread(rejected),
    (mean(chosen) - mean(rejected)).toFixed(3),
  ];
  return [
    head,
    ...story.chapters.flatMap((chapter, at) => {
      const heldOut = heldOutOf(chapter);
      if (!heldOut) return [];
      return [row(`round ${at + 1}, before`, heldOut.before), row(`round ${at + 1}, after`, heldOut.after)];
    }),
  ];
}

/** One sentence: did the newest policy learn the taste? */
export function verdict(story: Story): string {
  const newest = newestOf(story);
  if (!newest) return 'No policy was published, so there is nothing to compare with the reference.';
  const { rate, low, high, wins, ties, losses } = newest.contest;
  const told = `the newest policy wins ${percent(rate)} against the reference (95% interval ${percent(low)} to ${percent(high)}) on ${wins + ties + losses} prompts never voted on`;
  if (low > 0.5) return `It learned the taste: ${told}.`;
  if (high < 0.5) return `It went the wrong way: ${told}.`;
  return `Not shown: ${told}; the interval holds 50%.`;
}

export function writeTable(story: Story): string {
  const lines = [...alignRows(policyRows(story)), ''];
  const logps = logpRows(story);
  if (logps.length > 1) lines.push(...alignRows(logps), '');
  lines.push(verdict(story), SIMULATED);
  return lines.join('\n');
}
