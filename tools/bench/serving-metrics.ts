// Computes rates and latencies from the token times of one run.
import type { Outcome } from './peers/peer.ts';

export type ServingMetrics = {
  /** Tokens per second while every stream decodes: from the last stream's first token to the first stream's last. */
  decodeRate: number;
  /** Generated tokens per second from the request to the end, prefill included. */
  overallRate: number;
  /** Prompt tokens per second, from the request to the last stream's first token. */
  prefillRate: number;
  /** Milliseconds to the first token, median of the streams. */
  ttftMs: number;
  /** Milliseconds between two tokens of a stream. */
  itlP50Ms: number;
  itlP95Ms: number;
  peakMiB: number;
  loadSeconds: number;
  /** Cores that other processes used meanwhile. */
  otherCores: number;
};

export function computeMetrics(outcome: Outcome, promptLength: number): ServingMetrics {
  const { peakBytes, loadSeconds, otherCores } = outcome;
  const streams = outcome.streams.map(({ tokenTimesMs }) => tokenTimesMs);
  const firsts = streams.map((times) => times[0]!);
  const lasts = streams.map((times) => times.at(-1)!);
  const tokens = streams.reduce((sum, times) => sum + times.length, 0);
  const gaps = streams.flatMap((times) => times.slice(1).map((time, i) => time - times[i]!));
  return {
    decodeRate: computeDecodeRate(streams, Math.max(...firsts), Math.min(...lasts)),
    overallRate: (tokens / Math.max(...lasts)) * 1000,
    prefillRate: ((streams.length * promptLength) / Math.max(...firsts)) * 1000,
    ttftMs: quantile(firsts, 0.5),
    itlP50Ms: quantile(gaps, 0.5),
    itlP95Ms: quantile(gaps, 0.95),
    peakMiB: peakBytes / 2 ** 20,
    loadSeconds,
    otherCores,
  };
}

function computeDecodeRate(streams: number[][], from: number, to: number): number {
  // If one stream ended before another began, they never all decode at once: count every token but the first ones.
  if (to <= from) {
    const begin = Math.min(...streams.map((times) => times[0]!));
    const end = Math.max(...streams.map((times) => times.at(-1)!));
    return (streams.reduce((sum, times) => sum + times.length - 1, 0) / (end - begin)) * 1000;
  }
  const tokens = streams.reduce((sum, times) => sum + times.filter((time) => time > from && time <= to).length, 0);
  return (tokens / (to - from)) * 1000;
}

/** The smallest value that is at least as large as this share of the values. */
export function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
