// Turns a case's results into an aligned table.
import { type CaseResult, isDisturbed, type Result, ratio } from './case.ts';

const REFERENCES = ['transformers:q8', 'llama:Q8_0'];

/** What the columns are, for people. */
export const LEGEND = `decode/s, prefill/s: tokens per second, of all streams together; best: of the rounds, else their median
floor: share of what the machine's memory and arithmetic allow; ×tjs, ×llama: times transformers:q8 and llama:Q8_0
first ms, gap: to a stream's first token, between two of its tokens; MiB: peak of the process that serves
others: cores that other programs used meanwhile; ?: they did, so that this says little`;

const number = (value: number, digits: number) => (Number.isFinite(value) ? value.toFixed(digits) : '–');
/** A quotient of figures of which one was disturbed is a question. */
const mark = (...results: Result[]) => (results.some(isDisturbed) ? '?' : '');

type Column = { title: string; show(result: Result): string };

export function writeTable({ results }: CaseResult): string {
  const times = (result: Result, figure: 'decode' | 'prefill') =>
    REFERENCES.map((name) => results.find((other) => other.contender === name)).map((reference) =>
      reference ? number(ratio(result, reference, figure), 2) + mark(result, reference) : '–',
    );
  const share = (value: number, most: number) =>
    Number.isFinite(value) ? `${((100 * value) / most).toFixed(0)}%` : '–';
  const columns: Column[] = [
    { title: 'peer', show: ({ contender }) => contender },
    { title: 'decode/s', show: ({ median }) => number(median.decode, 0) },
    { title: 'best', show: ({ best }) => number(best.decode, 0) },
    { title: 'floor', show: ({ median, floor }) => share(median.decode, floor.decode) },
    { title: '×tjs', show: (result) => times(result, 'decode')[0]! },
    { title: '×llama', show: (result) => times(result, 'decode')[1]! },
    { title: 'prefill/s', show: ({ median }) => number(median.prefill, 0) },
    { title: 'floor', show: ({ median, floor }) => share(median.prefill, floor.prefill) },
    { title: '×tjs', show: (result) => times(result, 'prefill')[0]! },
    { title: '×llama', show: (result) => times(result, 'prefill')[1]! },
    { title: 'first ms', show: ({ median }) => number(median.firstToken, 1) },
    { title: 'gap p50', show: ({ median }) => number(median.gapMedian, 1) },
    { title: 'p95', show: ({ median }) => number(median.gapP95, 1) },
    { title: 'MiB', show: ({ median }) => number(median.peakMiB, 0) },
    { title: 'load s', show: ({ median }) => number(median.loadSeconds, 2) },
    { title: 'others', show: ({ median }) => number(median.others, 1) },
  ];
  const rows = [columns.map(({ title }) => title), ...results.map((result) => columns.map(({ show }) => show(result)))];
  const widths = columns.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  const lines = rows.map((row) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  '),
  );
  const failures = results.flatMap(({ contender, failures }) =>
    failures.map((why) => `  ${contender} failed: ${why.split('\n')[0]}`),
  );
  return [...lines, ...failures].join('\n');
}
