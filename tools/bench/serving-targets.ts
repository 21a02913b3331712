// The project's serving targets (two cores, SmolLM2-135M's real weights) and their evaluation. Speeds are compared at like
// quality: a peer whose distributions are further from float32 than the bound is named beside the result.
import { type CaseResult, computeMedianRatio, isNoisy, type PeerResult } from './run-case.ts';
import type { ServingMetrics } from './serving-metrics.ts';

/** Nats per token, on each text. */
const MAX_KL = 0.01;

type Target = {
  metric: string;
  value: keyof ServingMetrics;
  /** Streams × prompt tokens. */
  cases: string[];
  peer: string;
  /** The value is divided by that of the best of them; without any, it is taken as it is. */
  baselines: string[];
  limit: { atLeast: number } | { atMost: number };
};

const PEER = 'attune:row8';
const OVER_HTTP = 'attune-http:row8';
const RIVALS = ['transformers:q8', 'llama-ordered:Q8_0'];

const define = (
  metric: string,
  value: keyof ServingMetrics,
  cases: string[],
  peer: string,
  baselines: string[],
  limit: Target['limit'],
): Target => ({ metric, value, cases, peer, baselines, limit });

const TARGETS: Target[] = [
  define('decoding', 'decodeRate', ['1 × 32', '1 × 256'], PEER, RIVALS, { atLeast: 1.2 }),
  define('decoding', 'decodeRate', ['16 × 32', '16 × 256'], PEER, RIVALS, { atLeast: 1.5 }),
  define('prefill', 'prefillRate', ['1 × 256', '1 × 1024'], PEER, RIVALS, { atLeast: 1 }),
  define('memory', 'peakMiB', ['16 × 256', '1 × 1024'], PEER, ['transformers:q8'], { atMost: 1 }),
  define('through HTTP', 'overallRate', ['1 × 32', '16 × 32', '1 × 256', '16 × 256'], OVER_HTTP, [PEER], {
    atLeast: 0.95,
  }),
  define('load, seconds', 'loadSeconds', ['1 × 32'], PEER, [], { atMost: 1 }),
];

export type TargetResult = Omit<Target, 'value' | 'cases' | 'baselines'> & {
  case: string;
  baseline: string | null;
  /** Median of the rounds' ratios to the baseline, or the median value. */
  median: number;
  /** The same from the best round of each, which removes most of the machine's noise. */
  best: number;
  isReached: boolean;
  isNoisy: boolean;
  /** The peers whose KL to float32 is above the bound, or unknown (NaN). */
  lessAccurate: { peer: string; kl: number }[];
};

/** Evaluates the targets for which the cases contain all peers. */
export function evaluateTargets(measured: CaseResult[]): TargetResult[] {
  return TARGETS.flatMap((target) =>
    target.cases.flatMap((name) => {
      const results = measured.find(({ streams, promptLength }) => name === `${streams} × ${promptLength}`)?.results;
      return results ? evaluateTarget(target, name, results) : [];
    }),
  );
}

function evaluateTarget(target: Target, name: string, results: PeerResult[]): TargetResult[] {
  const { metric, value, peer, limit } = target;
  const ours = results.find((result) => result.peer === peer);
  const baselines = results.filter((result) => target.baselines.includes(result.peer));
  if (!ours || baselines.length < target.baselines.length) return [];
  const compared = baselines.map((baseline) => ({
    baseline: baseline.peer,
    median: computeMedianRatio(ours, baseline, value),
    best: ours.best[value] / baseline.best[value],
  }));
  const absolute = { baseline: null, median: ours.median[value], best: ours.best[value] };
  const isHigher = 'atLeast' in limit;
  // The best baseline is the one that leaves us the worst ratio.
  const [worst = absolute] = compared.toSorted((a, b) => (isHigher ? a.median - b.median : b.median - a.median));
  if (!Number.isFinite(worst.median)) return [];
  const involved = [ours, ...baselines];
  return [
    {
      metric,
      case: name,
      peer,
      limit,
      ...worst,
      isReached: isHigher ? worst.median >= limit.atLeast : worst.median <= limit.atMost,
      isNoisy: involved.some(isNoisy),
      lessAccurate: involved
        .map((result) => ({ peer: result.peer, kl: largestKl(result) }))
        .filter(({ kl }) => !(kl <= MAX_KL)),
    },
  ];
}

/** Of both texts. */
function largestKl({ accuracy }: PeerResult): number {
  return accuracy ? Math.max(accuracy.own.kl, accuracy.real.kl) : Number.NaN;
}

export function formatTargets(results: TargetResult[]): string {
  return results
    .map(({ metric, case: name, peer, baseline, limit, median, best, isReached, isNoisy, lessAccurate }) => {
      const compared = baseline ? `${peer} / ${baseline}` : peer;
      const figures = `${median.toFixed(2).padStart(5)}${isNoisy ? '?' : ' '} best ${best.toFixed(2).padStart(5)}`;
      const aim = 'atLeast' in limit ? `at least ${limit.atLeast.toFixed(2)}` : `at most ${limit.atMost.toFixed(2)}`;
      const outcome = isReached ? 'reached' : 'missed';
      const unlike = lessAccurate.map(({ peer, kl }) => `${peer} KL ${Number.isNaN(kl) ? 'unknown' : kl.toFixed(4)}`);
      const quality = unlike.length > 0 ? `, not at like quality: ${unlike.join(', ')}` : '';
      return `${`${metric}, ${name}`.padEnd(24)} ${compared.padEnd(36)} ${figures}  ${aim.padEnd(13)}  ${outcome}${quality}`;
    })
    .join('\n');
}
