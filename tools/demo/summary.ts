// The result as plain text: a row per policy, held-out log-probabilities, and the conclusion.

import type { Logps } from '../report/logp-densities.ts';
import { formatPercent, mean, quantile } from '../report/statistics.ts';
import { type DemoResult, getHeldOutLogps, getNewestPublication } from './result.ts';

export const SIMULATED_NOTE =
  'The raters are simulated: a program applies a published scoring rule. No person has voted, and these results are no evidence of what people prefer.';

/** Pads cells to columns: the first one left-aligned, the others right-aligned. */
export function alignColumns(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}

export function policyRows(result: DemoResult): string[][] {
  const reference = result.rounds.find((round) => round.publication)?.publication?.winRate;
  const head = ['policy', 'preferences', 'win rate', '95% interval', 'win/tie/loss', 'score', 'distinct-2'];
  const first = [
    'reference',
    '',
    formatPercent(0.5),
    '',
    '',
    reference ? reference.referenceScore.toFixed(2) : '',
    reference ? formatPercent(reference.referenceDistinct) : '',
  ];
  const others = result.rounds.map(({ votes, publication, canary, round }, at) => {
    const isRolledBack = canary?.state === 'rolled_back';
    const name = `round ${at + 1}${isRolledBack ? ', rolled back' : ''}`;
    const winRate = publication?.winRate ?? canary?.winRate;
    if (!winRate) return [name, String(votes.strict), round.policy ? '' : 'rejected', '', '', '', ''];
    return [
      name,
      String(votes.strict),
      formatPercent(winRate.rate),
      `${formatPercent(winRate.low)} – ${formatPercent(winRate.high)}`,
      `${winRate.wins}/${winRate.ties}/${winRate.losses}`,
      winRate.score.toFixed(2),
      formatPercent(winRate.distinct),
    ];
  });
  return [head, first, ...others];
}

const formatSpread = (values: number[]) =>
  `${mean(values).toFixed(3)} [${quantile(values, 0.25).toFixed(3)}, ${quantile(values, 0.75).toFixed(3)}]`;

export function logpRows(result: DemoResult): string[][] {
  const head = [
    'held-out log-probability per token',
    'chosen: mean [quartiles]',
    'rejected: mean [quartiles]',
    'margin',
  ];
  const row = (name: string, { chosen, rejected }: Logps) => [
    name,
    formatSpread(chosen),
    formatSpread(rejected),
    (mean(chosen) - mean(rejected)).toFixed(3),
  ];
  return [
    head,
    ...result.rounds.flatMap((round, at) => {
      const heldOut = getHeldOutLogps(round);
      if (!heldOut) return [];
      return [row(`round ${at + 1}, before`, heldOut.before), row(`round ${at + 1}, after`, heldOut.after)];
    }),
  ];
}

/** One sentence that claims no more than the interval of the newest policy's win rate supports. */
export function formatConclusion(result: DemoResult): string {
  const newest = getNewestPublication(result);
  if (!newest) return 'No policy was published, so there is no win rate against the reference.';
  const { rate, low, high, wins, ties, losses } = newest.winRate;
  const finding = `the newest policy's win rate against the reference is ${formatPercent(rate)} (95% interval ${formatPercent(low)} to ${formatPercent(high)}) on ${wins + ties + losses} held-out prompts`;
  if (low > 0.5) return `The policy learned the raters' preference: ${finding}.`;
  if (high < 0.5) return `The policy moved away from the raters' preference: ${finding}.`;
  return `Inconclusive: ${finding}, and the interval includes 50%.`;
}

export function formatSummary(result: DemoResult): string {
  const lines = [...alignColumns(policyRows(result)), ''];
  const logps = logpRows(result);
  if (logps.length > 1) lines.push(...alignColumns(logps), '');
  lines.push(formatConclusion(result), SIMULATED_NOTE);
  return lines.join('\n');
}
