// Formats benchmark results as text tables.
import { type Accuracy, pool } from './accuracy.ts';
import { type CaseResult, computeMedianRatio, isNoisy, type PeerResult } from './run-case.ts';
import type { StepWork } from './train-flops.ts';
import type { PeakFlops } from './train-peak-flops.ts';
import type { RoundResult } from './train-round.ts';
import type { StepsResult } from './train-steps.ts';
import type { TrainTarget } from './train-targets.ts';

export const SERVING_LEGEND = `decode/s, prefill/s: tokens per second over all streams, median of the rounds; best: best round
roof: share of the rate that memory bandwidth and arithmetic allow; ×tjs, ×llama: relative to transformers:q8 and llama:Q8_0
TTFT: milliseconds to a stream's first token; ITL: milliseconds between two of its tokens; MiB: peak of the serving process
KL, same, ppl: accuracy against float32 as in the table above, over both texts but KL
others: cores that other processes used meanwhile; ?: too many for a reliable figure`;

export const ACCURACY_LEGEND = `KL: divergence from float32 in nats per token; same: share of tokens with the same likeliest token; ppl: perplexity
own: text that the float32 model sampled; real: prose from the READMEs of installed packages`;

/** One row per peer, below float32 itself. */
export function formatAccuracy(peers: { peer: string; accuracy: Accuracy | null }[]): string {
  const texts = ['own', 'real'] as const;
  const header = ['peer', ...texts.flatMap((text) => [`KL ${text}`, `same ${text}`, `ppl ${text}`])];
  const reference = peers.find(({ accuracy }) => accuracy)?.accuracy;
  if (!reference) return '';
  const rows = peers.map(({ peer, accuracy }) => [
    peer,
    ...texts.flatMap((text) => {
      if (!accuracy) return ['–', '–', '–'];
      const { kl, greedyAgreement, perplexity } = accuracy[text];
      return [formatNumber(kl, 4), `${formatNumber(100 * greedyAgreement, 1)}%`, formatNumber(perplexity, 3)];
    }),
  ]);
  const float32 = texts.flatMap((text) => ['0', '100%', formatNumber(reference[text].referencePerplexity, 3)]);
  return alignColumns([header, ['float32', ...float32], ...rows]);
}

const BASELINES = ['transformers:q8', 'llama:Q8_0'];

export function formatCase({ results }: CaseResult): string {
  const [transformers, llama] = BASELINES.map((name) => results.find(({ peer }) => peer === name));
  const ratio = (result: PeerResult, baseline: PeerResult | undefined, rate: 'decodeRate' | 'prefillRate') => {
    if (!baseline) return '–';
    const mark = isNoisy(result) || isNoisy(baseline) ? '?' : '';
    return formatNumber(computeMedianRatio(result, baseline, rate), 2) + mark;
  };
  const columns: [title: string, format: (result: PeerResult) => string][] = [
    ['peer', ({ peer }) => peer],
    ['decode/s', ({ median }) => formatNumber(median.decodeRate, 0)],
    ['best', ({ best }) => formatNumber(best.decodeRate, 0)],
    ['roof', ({ median, roofline }) => formatPercent(median.decodeRate / roofline.decode)],
    ['×tjs', (result) => ratio(result, transformers, 'decodeRate')],
    ['×llama', (result) => ratio(result, llama, 'decodeRate')],
    ['prefill/s', ({ median }) => formatNumber(median.prefillRate, 0)],
    ['roof', ({ median, roofline }) => formatPercent(median.prefillRate / roofline.prefill)],
    ['×tjs', (result) => ratio(result, transformers, 'prefillRate')],
    ['×llama', (result) => ratio(result, llama, 'prefillRate')],
    ['TTFT', ({ median }) => formatNumber(median.ttftMs, 1)],
    ['ITL p50', ({ median }) => formatNumber(median.itlP50Ms, 1)],
    ['p95', ({ median }) => formatNumber(median.itlP95Ms, 1)],
    ['MiB', ({ median }) => formatNumber(median.peakMiB, 0)],
    ['load s', ({ median }) => formatNumber(median.loadSeconds, 2)],
    ['KL own', ({ accuracy }) => formatNumber(accuracy?.own.kl ?? Number.NaN, 4)],
    ['KL real', ({ accuracy }) => formatNumber(accuracy?.real.kl ?? Number.NaN, 4)],
    ['same', ({ accuracy }) => formatPercent(accuracy ? pool(accuracy).greedyAgreement : Number.NaN)],
    ['ppl', ({ accuracy }) => formatNumber(accuracy ? pool(accuracy).perplexity : Number.NaN, 2)],
    ['others', ({ median }) => formatNumber(median.otherCores, 1)],
  ];
  const header = columns.map(([title]) => title);
  const table = alignColumns([header, ...results.map((result) => columns.map(([, format]) => format(result)))]);
  const failures = results.flatMap(({ peer, failures }) =>
    failures.map((message) => `  ${peer} failed: ${message.split('\n')[0]}`),
  );
  return [table, ...failures].join('\n');
}

export const TRAIN_LEGEND = `step s: seconds of a whole step, the median of the rounds, and the best
tokens/s, pairs/s: from the median; a pair counts both of its sequences with their prompts, without padding
MFU: share of the machine's matrix multiplication rate at these sizes; operations counted are
  6 · tokens · layer weights + 6 · response tokens · output layer weights + attention, without padding, and each prompt
  once if the peer computes it once; padding: share of computed tokens that are padding
×attune: time relative to Attune; MiB: peak of the process; others: cores that other processes used meanwhile`;

const ATTUNE = 'attune';

export function formatPeakFlops({ best, byLibrary }: PeakFlops): string {
  const libraries = Object.entries(byLibrary).map(([name, rate]) => `${name} ${formatGiga(rate)}`);
  return `Peak matmul rate: ${formatGiga(best)} GFLOP/s (${libraries.join(', ')})`;
}

export function formatSteps(results: StepsResult[], work: StepWork, pairs: number, peak: PeakFlops): string {
  const ours = results.find(({ peer }) => peer === ATTUNE);
  const columns: [title: string, format: (result: StepsResult) => string][] = [
    ['peer', ({ peer }) => peer],
    ['step s', ({ median }) => median.toFixed(2)],
    ['best', ({ best }) => best.toFixed(2)],
    ['tokens/s', ({ median }) => (work.tokens / median).toFixed(0)],
    ['pairs/s', ({ median }) => (pairs / median).toFixed(2)],
    ['×attune', ({ median }) => (ours ? (median / ours.median).toFixed(2) : '–')],
    ['MFU', ({ flops, median }) => formatPercent(flops / median / peak.best)],
    ['padding', ({ padding }) => formatPercent(padding)],
    ['MiB', ({ peakMiB }) => peakMiB.toFixed(0)],
    ['load s', ({ loadSeconds }) => loadSeconds.toFixed(1)],
    ['others', ({ otherCores }) => otherCores.toFixed(1)],
  ];
  const header = columns.map(([title]) => title);
  return alignColumns([header, ...results.map((result) => columns.map(([, format]) => format(result)))]);
}

export function formatRounds(results: RoundResult[]): string {
  const ours = results.find(({ peer }) => peer === ATTUNE);
  const header = ['peer', 'round s', 'pairs/s', '×attune', 'held-out', 'after', 'MiB', 'load s', 'others'];
  const rows = results.map((result) => [
    result.peer,
    result.seconds.toFixed(1),
    result.pairsPerSecond.toFixed(2),
    ours ? (result.seconds / ours.seconds).toFixed(2) : '–',
    result.lossBefore.toFixed(4),
    result.lossAfter.toFixed(4),
    result.peakMiB.toFixed(0),
    result.loadSeconds.toFixed(1),
    result.otherCores.toFixed(1),
  ]);
  return alignColumns([header, ...rows]);
}

export function formatTrainTargets(targets: TrainTarget[]): string {
  const rows = targets.map(({ metric, baseline, target, reached, isReached, isNoisy }) => [
    metric,
    baseline,
    `${reached.toFixed(2)}${isNoisy ? '?' : ''}`,
    metric.startsWith('peak') ? 'below 1' : `target ${target}`,
    isReached ? 'reached' : 'missed',
  ]);
  return alignColumns(rows);
}

function formatNumber(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : '–';
}

function formatPercent(share: number): string {
  return Number.isFinite(share) ? `${(100 * share).toFixed(0)}%` : '–';
}

function formatGiga(value: number): string {
  return (value / 1e9).toFixed(0);
}

/** The first column is left-aligned, the others right-aligned. */
export function alignColumns(rows: string[][]): string {
  const widths = rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]!.length))) ?? [];
  return rows
    .map((row) => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  '))
    .join('\n');
}
