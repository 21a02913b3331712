// The project's serving targets (two cores, the shape of SmolLM2-135M) and their evaluation.
import { type CaseResult, computeMedianRatio, isNoisy, type Rate } from './run-case.ts';

type Target = [metric: string, streams: number, rate: Rate, peer: string, baseline: string, target: number];

const TARGETS: Target[] = [
  ['decoding', 1, 'decodeRate', 'attune:row8', 'transformers:q8', 1.5],
  ['decoding', 16, 'decodeRate', 'attune:row8', 'transformers:q8', 2],
  ['decoding', 1, 'decodeRate', 'attune:row8', 'llama:Q8_0', 1],
  ['decoding', 16, 'decodeRate', 'attune:row8', 'llama:Q8_0', 2],
  ['decoding', 16, 'decodeRate', 'attune:row8', 'llama-ordered:Q8_0', 2],
  ['prefill', 1, 'prefillRate', 'attune:row8', 'transformers:q8', 1.5],
  ['prefill', 1, 'prefillRate', 'attune:row8', 'llama:Q8_0', 1.5],
  ['through HTTP', 1, 'overallRate', 'attune-http:row8', 'attune:row8', 0.95],
  ['through HTTP', 16, 'overallRate', 'attune-http:row8', 'attune:row8', 0.95],
];

export type TargetResult = {
  metric: string;
  streams: number;
  promptLength: number;
  peer: string;
  baseline: string;
  target: number;
  /** Median of the rounds' ratios. */
  medianRatio: number;
  /** The peer's best round over the baseline's best round, which removes most of the machine's noise. */
  bestRatio: number;
  isNoisy: boolean;
};

/** Evaluates the targets for which the cases contain both peers. */
export function evaluateTargets(cases: CaseResult[]): TargetResult[] {
  return TARGETS.flatMap(([metric, streams, rate, peer, baseline, target]) =>
    cases
      .filter((candidate) => candidate.streams === streams)
      .flatMap(({ promptLength, results }) => {
        const [ours, theirs] = [peer, baseline].map((name) => results.find((result) => result.peer === name));
        if (!ours || !theirs) return [];
        const medianRatio = computeMedianRatio(ours, theirs, rate);
        if (!Number.isFinite(medianRatio)) return [];
        const bestRatio = ours.best[rate] / theirs.best[rate];
        const noisy = isNoisy(ours) || isNoisy(theirs);
        return [{ metric, streams, promptLength, peer, baseline, target, medianRatio, bestRatio, isNoisy: noisy }];
      }),
  );
}

export function formatTargets(results: TargetResult[]): string {
  return results
    .map(({ metric, streams, promptLength, peer, baseline, target, medianRatio, bestRatio, isNoisy }) => {
      const name = `${metric}, ${streams} × ${promptLength}`.padEnd(24);
      const ratios = `${medianRatio.toFixed(2).padStart(5)}${isNoisy ? '?' : ' '} best ${bestRatio.toFixed(2).padStart(5)}`;
      const outcome = medianRatio >= target ? 'reached' : 'missed';
      return `${name} ${`${peer} / ${baseline}`.padEnd(34)} ${ratios}  target ${target.toFixed(2)}  ${outcome}`;
    })
    .join('\n');
}
