// Guards: what a policy may become worse in, without anyone's vote. Each compares the candidate with the baseline by a
// confidence sequence, and acts if the whole interval is beyond what is tolerated. Together they act in at most 5% of canaries
// by chance, because they share the probability of an error.

import { COMPARED, type Compared, type Served } from './compared.ts';
import { compareMeans, type Difference, type Moments } from './confidence-sequence.ts';

export const GUARD_NAMES = [
  'loading',
  'errors',
  'first_token',
  'finish_reasons',
  'length',
  'repetition',
  'empty',
  'thumbs',
] as const;
export type GuardName = (typeof GUARD_NAMES)[number];

export type Guard = {
  name: GuardName;
  /** waiting: too few observations to say */
  state: 'waiting' | 'ok' | 'worse';
  /** means, in `unit` */
  candidate: number | null;
  baseline: number | null;
  unit: 'share' | 'seconds' | 'tokens' | 'count';
  /** candidate minus baseline, or the logarithm of their ratio */
  difference: Difference | null;
  tolerance: number;
  /** observations of the candidate */
  count: number;
  message: string;
};

/** The probability that any guard acts on a policy that is not worse, at any time. */
export const GUARD_ALPHA = 0.05;
const ALPHA = GUARD_ALPHA / COMPARED.length;
/**
 * Failed attempts to load the candidate after which it is given up: where no process serves it a package is at fault, where one
 * does, another process is, and may recover.
 */
export const MAX_LOAD_FAILURES = { unserved: 3, served: 20 };

/** What every guard says. `isTogether`: both served over the same minutes; else one after the other. */
export function checkGuards(candidate: Served, baseline: Served, isTogether = true): Guard[] {
  const compared = COMPARED.flatMap((guard) => {
    const { tolerance, toleranceApart = tolerance } = guard;
    const wanted = isTogether ? tolerance : toleranceApart;
    return wanted === null ? [] : [check(guard, candidate, baseline, wanted)];
  });
  return [checkLoading(candidate, baseline), ...compared];
}

function checkLoading({ load_failures: failures, requests }: Served, baseline: Served): Guard {
  const tolerance = requests > 0 ? MAX_LOAD_FAILURES.served : MAX_LOAD_FAILURES.unserved;
  const isWorse = failures >= tolerance;
  const seen = `${failures} attempts to load it failed`;
  return {
    name: 'loading',
    state: isWorse ? 'worse' : requests > 0 ? 'ok' : 'waiting',
    candidate: failures,
    baseline: baseline.load_failures,
    unit: 'count',
    difference: null,
    tolerance,
    count: requests,
    message: isWorse
      ? `${seen}, and ${requests > 0 ? 'some processes do not serve it' : 'no process serves it'}; their log says why`
      : `${seen}, of ${tolerance} at which it is given up`,
  };
}

function check(guard: Compared, ofCandidate: Served, ofBaseline: Served, wanted: number): Guard {
  const { name, unit, show, minCount } = guard;
  const [candidate, baseline] = [guard.read(ofCandidate), guard.read(ofBaseline)];
  const mean = ({ count, mean }: Moments) => (count === 0 ? null : show(mean));
  const isEnough = candidate.count >= minCount && baseline.count >= minCount;
  const difference = isEnough ? compareMeans(candidate, baseline, ALPHA) : null;
  const tolerance = findTolerance(guard, baseline, wanted);
  const state = !difference ? 'waiting' : isBeyond(guard.worse, tolerance, difference) ? 'worse' : 'ok';
  const shown = { candidate: mean(candidate), baseline: mean(baseline) };
  const message = difference
    ? describe({ ...guard, tolerance }, shown.candidate!, shown.baseline!, difference, state)
    : `${guard.label}: ${candidate.count} observations of the candidate and ${baseline.count} of the baseline, of ${minCount} of each`;
  return { name, state, ...shown, unit, difference, tolerance, count: candidate.count, message };
}

function findTolerance({ floor = 0 }: Compared, { count, mean }: Moments, wanted: number): number {
  return floor === 0 || count === 0 ? wanted : Math.max(wanted, Math.log1p(floor / Math.exp(mean)));
}

function isBeyond(worse: Compared['worse'], tolerance: number, { low, high }: Difference): boolean {
  return (worse !== 'down' && low > tolerance) || (worse !== 'up' && high < -tolerance);
}

function describe(
  { label, unit, tolerance, worse }: Compared,
  candidate: number,
  baseline: number,
  { low, high }: Difference,
  state: Guard['state'],
): string {
  const isRatio = unit === 'seconds' || unit === 'tokens';
  const sign = { up: '+', down: '−', both: '±' }[worse];
  const bound = isRatio
    ? `a factor of ${Math.exp(low).toFixed(2)} to ${Math.exp(high).toFixed(2)}, where ${Math.exp(tolerance).toFixed(2)} is tolerated`
    : `${toPoints(low)} to ${toPoints(high)} points, where ${sign}${100 * tolerance} is tolerated`;
  const verdict = state === 'worse' ? 'worse than the baseline’s' : 'the baseline’s';
  return `${label}: ${format(candidate, unit)}, ${verdict} is ${format(baseline, unit)} (${bound})`;
}

function toPoints(share: number): string {
  return `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(1)}`;
}

function format(value: number, unit: Guard['unit']): string {
  if (unit === 'share') return `${(100 * value).toFixed(1)}%`;
  return unit === 'seconds' ? `${value.toPrecision(3)} s` : `${value.toFixed(1)} ${unit}`;
}
