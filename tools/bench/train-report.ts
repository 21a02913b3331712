// Turns what was measured into aligned tables.
import type { TrainAim } from './train-aims.ts';
import type { Ceiling } from './train-ceiling.ts';
import type { RoundResult } from './train-round.ts';
import type { StepsResult } from './train-steps.ts';
import type { Work } from './train-work.ts';

/** What the columns are, for people. */
export const TRAIN_LEGEND = `step s: seconds of a whole step, the median of the rounds, and the best
tokens/s, pairs/s: by the median; every pair counts as both of its sequences, prompts included, padding never
ceiling: share of the rate at which the machine multiplies matrices of these sizes; operations counted are
  6 · tokens · weights of the layers + 6 · response tokens · weights of the output layer + attention's, without padding,
  and with prompts once where the peer computes them once; padding: the share of computed tokens that it is
×attune: how many times as long as Attune it takes; MiB: peak of its process; others: cores that others used meanwhile`;

const OURS = 'attune';
const percent = (share: number) => `${(100 * share).toFixed(0)}%`;
const giga = (value: number) => (value / 1e9).toFixed(0);

export function describeCeiling({ best, by }: Ceiling): string {
  const libraries = Object.entries(by).map(([name, rate]) => `${name} ${giga(rate)}`);
  return `Ceiling: ${giga(best)} GFLOP/s (${libraries.join(', ')})`;
}

export function writeSteps(results: StepsResult[], work: Work, pairs: number, ceiling: Ceiling): string {
  const ours = results.find(({ peer }) => peer === OURS);
  const header = [
    'peer',
    'step s',
    'best',
    'tokens/s',
    'pairs/s',
    '×attune',
    'ceiling',
    'padding',
    'MiB',
    'load s',
    'others',
  ];
  const rows = results.map((result) => [
    result.peer,
    result.median.toFixed(2),
    result.best.toFixed(2),
    (work.tokens / result.median).toFixed(0),
    (pairs / result.median).toFixed(2),
    ours ? (result.median / ours.median).toFixed(2) : '–',
    percent(result.flops / result.median / ceiling.best),
    percent(result.padding),
    result.peakMiB.toFixed(0),
    result.loadSeconds.toFixed(1),
    result.others.toFixed(1),
  ]);
  return align([header, ...rows]);
}

export function writeRounds(results: RoundResult[]): string {
  const ours = results.find(({ peer }) => peer === OURS);
  const header = ['peer', 'round s', 'pairs/s', '×attune', 'held-out', 'after', 'MiB', 'load s', 'others'];
  const rows = results.map((result) => [
    result.peer,
    result.seconds.toFixed(1),
    result.pairsPerSecond.toFixed(2),
    ours ? (result.seconds / ours.seconds).toFixed(2) : '–',
    result.before.toFixed(4),
    result.after.toFixed(4),
    result.peakMiB.toFixed(0),
    result.loadSeconds.toFixed(1),
    result.others.toFixed(1),
  ]);
  return align([header, ...rows]);
}

export function writeTrainAims(aims: TrainAim[]): string {
  const rows = aims.map(({ what, of, aim, reached, isReached, isDisturbed }) => [
    what,
    of,
    `${reached.toFixed(2)}${isDisturbed ? '?' : ''}`,
    what.startsWith('peak') ? 'below 1' : `aim ${aim}`,
    isReached ? 'reached' : 'missed',
  ]);
  return align(rows);
}

function align(rows: string[][]): string {
  const widths = rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]!.length))) ?? [];
  return rows
    .map((row) => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  '))
    .join('\n');
}
