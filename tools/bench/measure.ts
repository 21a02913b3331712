// What a case's marks say: rates, waits and gaps. Pure arithmetic, so that it can be checked by hand.
import type { Outcome } from './peers/peer.ts';

export type Figures = {
  /** Tokens per second while every stream decodes: from the last stream's first token to the first stream's last. */
  decode: number;
  /** Tokens per second from asking to the end, prompts included. */
  overall: number;
  /** Tokens of prompts per second, from asking to the last stream's first token. */
  prefill: number;
  /** Milliseconds to a stream's first token, the median of the streams. */
  firstToken: number;
  /** Milliseconds between two tokens of a stream. */
  gapMedian: number;
  gapP95: number;
  peakMiB: number;
  loadSeconds: number;
  /** Cores that others kept busy meanwhile. */
  others: number;
};

export function measure({ streams, peakBytes, loadSeconds, others }: Outcome, promptLength: number): Figures {
  const all = streams.map(({ marks }) => marks);
  const firsts = all.map((marks) => marks[0]!);
  const lasts = all.map((marks) => marks.at(-1)!);
  const tokens = all.reduce((sum, marks) => sum + marks.length, 0);
  const end = Math.max(...lasts);
  const gaps = all.flatMap((marks) => marks.slice(1).map((mark, i) => mark - marks[i]!));
  return {
    decode: decodeRate(all, Math.max(...firsts), Math.min(...lasts)),
    overall: (tokens / end) * 1000,
    prefill: ((streams.length * promptLength) / Math.max(...firsts)) * 1000,
    firstToken: quantile(firsts, 0.5),
    gapMedian: quantile(gaps, 0.5),
    gapP95: quantile(gaps, 0.95),
    peakMiB: peakBytes / 2 ** 20,
    loadSeconds,
    others,
  };
}

function decodeRate(all: number[][], from: number, to: number): number {
  // Where a stream ended before another began, there is no time in which all decoded; then it is all but first tokens.
  if (to <= from) {
    const begin = Math.min(...all.map((marks) => marks[0]!));
    const end = Math.max(...all.map((marks) => marks.at(-1)!));
    return (all.reduce((sum, marks) => sum + marks.length - 1, 0) / (end - begin)) * 1000;
  }
  const within = all.reduce((sum, marks) => sum + marks.filter((mark) => mark > from && mark <= to).length, 0);
  return (within / (to - from)) * 1000;
}

/** The smallest value that at least this share of them do not exceed. */
export function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
