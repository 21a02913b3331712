// Whether a trained policy may replace its parent: only where the held-out pairs say that it is better.

import type { Evaluation } from './evaluation.ts';

export type Verdict = { pass: boolean; reason: string };

/** Both evaluations are of the same held-out pairs, by the same objective, against the same reference. */
export function judge(parent: Evaluation, candidate: Evaluation): Verdict {
  const broken = Object.entries(candidate.metrics).find(([, value]) => !Number.isFinite(value));
  if (broken) return { pass: false, reason: `gate: ${broken[0]} on held-out pairs is ${broken[1]}; training diverged` };
  const before = parent.metrics.loss!;
  const after = candidate.metrics.loss!;
  const told = `the held-out loss went from ${before.toFixed(5)} to ${after.toFixed(5)}, over ${candidate.logps.chosen.length} pairs`;
  if (!(after < before)) return { pass: false, reason: `gate: no better than its parent: ${told}` };
  return { pass: true, reason: `gate: better than its parent: ${told}` };
}
