// The gate: a trained policy replaces the active one, the baseline, only if it agrees significantly more with the raters
// on held-out pairs (preference-gain.ts), and its own samples stay within bounds. Held-out pairs alone do not detect a
// policy whose text has degenerated: any policy that makes the rejected responses unlikely does well on them, even one that
// writes nonsense.
//
// The bounds detect failures; they are not targets. A round needs to change little: the better of two responses is at
// most ln 2 − ½ = 0.19 nats from the distribution of both. A healthy round of the demo lowers the log-probability of
// chosen responses by 0.05 nats per token; the learning rates that broke the small model lowered it by 0.84.
import type { GateCheck } from '../../shared/database/round-types.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import { type Estimate, estimateMean } from '../../shared/statistics/confidence-interval.ts';
import { adviseOnDivergence } from './divergence-advice.ts';
import type { Evaluation, SampleEvaluation } from './evaluation.ts';
import { findEffect, findNeededPrompts, MAX_HELD_OUT } from './gate-power.ts';
import { measurePreferenceGain } from './preference-gain.ts';

/** The part of RoundSettings that the gate needs. */
export type GateBounds = Pick<RoundSettings, 'objective' | 'reduction'> & {
  /** Nats of KL(policy ‖ root) per response. */
  gate_kl: number;
  /** Nats per token that the log-probability of chosen responses may drop. */
  gate_chosen_drop: number;
  /** Factor by which the mean length may grow or shrink. */
  gate_length: number;
  /** Growth of the share of repeated 4-grams. */
  gate_repetition: number;
};

/** `heldOutShare`: the share of prompts that is held out (TRAIN_HELD_OUT), for advice on how many pairs to collect. */
export type GateOptions = { seed: number; heldOutShare: number };

export type GateDecision = { pass: boolean; reason: string; checks: GateCheck[] };

/** The first metric that is not finite. Such a policy cannot be sampled from. */
export function findNonFinite({ metrics }: Pick<Evaluation, 'metrics'>): [name: string, value: number] | null {
  return Object.entries(metrics).find(([, value]) => !Number.isFinite(value)) ?? null;
}

/**
 * Both evaluations are on the same held-out pairs, by the same objective and reference. `samples` may be null only if a
 * metric of the candidate is not finite.
 */
export function decideGate(
  baseline: Evaluation,
  candidate: Evaluation,
  samples: SampleEvaluation | null,
  bounds: GateBounds,
  options: Partial<GateOptions> = {},
): GateDecision {
  const { seed, heldOutShare } = { seed: 0, heldOutShare: 0.2, ...options };
  const nonFinite = findNonFinite(candidate);
  const advice = adviseOnDivergence('dil', bounds);
  if (nonFinite) return refuseDiverged(`${nonFinite[0]} on held-out pairs is ${nonFinite[1]}`, advice);
  if (!samples) throw new Error('internal: gate: a policy with finite metrics needs samples');
  const nonFiniteSample = findNonFinite(samples);
  if (nonFiniteSample)
    return refuseDiverged(`${nonFiniteSample[0]} on its own samples is ${nonFiniteSample[1]}`, advice);

  const improvement = checkImprovement(baseline, candidate, { seed, heldOutShare });
  const kl = checkKl(samples, bounds.gate_kl);
  const checks = [
    improvement,
    kl,
    checkChosenDrop(baseline, candidate, bounds.gate_chosen_drop, seed),
    checkLength(samples, bounds.gate_length),
    checkRepetition(samples, bounds.gate_repetition),
  ];
  const failed = checks.filter(({ pass }) => !pass);
  const reported = failed.length > 0 ? failed : [improvement, kl];
  return {
    pass: failed.length === 0,
    reason: `gate: ${failed.length > 0 ? 'refused: ' : ''}${reported.map(({ message }) => message).join('; ')}`,
    checks,
  };
}

function refuseDiverged(finding: string, advice: string): GateDecision {
  const message = `${finding}; training diverged: ${advice}`;
  const check: GateCheck = {
    name: 'finite',
    measured: null,
    interval: null,
    bound: null,
    pass: false,
    needed: null,
    message,
  };
  return { pass: false, reason: `gate: refused: ${message}`, checks: [check] };
}

/** The loss is reported and does not decide: unbounded in lsif and ukl, it has little power. */
function checkImprovement(baseline: Evaluation, candidate: Evaluation, { seed, heldOutShare }: GateOptions): GateCheck {
  const { bounded, margin, accuracy } = measurePreferenceGain(baseline, candidate, seed);
  const prompts = new Set(candidate.prompts).size;
  const effect = findEffect(bounded, prompts);
  const needed = effect === null ? null : findNeededPrompts(effect);
  const [before, after] = [baseline.metrics.loss!, candidate.metrics.loss!].map((loss) => loss.toFixed(5));
  const finding =
    `bounded margin ${format(bounded, 3)} over ${candidate.outcomes.length} pairs on ${prompts} prompts ` +
    `(margin ${format(margin, 2)} nats, accuracy ${formatPercent(accuracy)}, held-out loss from ${before} to ${after})`;
  const { interval, value } = bounded;
  const pass = interval !== null && interval.low > 0;
  const describe = (decision: string, advice: string) => `${decision}: ${finding}${advice && `; ${advice}`}`;
  const message = pass
    ? describe('agrees with the raters more than the policy it would replace', '')
    : interval === null
      ? describe(
          'too few prompts are held out to decide',
          'collect more pairs on other prompts, or raise TRAIN_HELD_OUT',
        )
      : needed !== null
        ? describe(
            'does not agree with the raters significantly more than the policy it would replace',
            needed > MAX_HELD_OUT
              ? `a policy this much better would need ${needed} held-out prompts, more than the ${MAX_HELD_OUT} pairs that a round evaluates: raise EPOCHS or LEARNING_RATE, so that it learns more`
              : `with ${needed} held-out prompts a policy this much better would pass four times in five: collect about ${countMissing(needed, prompts, heldOutShare)} more pairs on other prompts`,
          )
        : describe(
            'agrees with the raters no more than the policy it would replace',
            'more pairs like these would probably not help: check pairs.quality, or lower LEARNING_RATE',
          );
  return { name: 'improvement', measured: value, interval, bound: 0, pass, needed, message };
}

/** Pairs to collect so that `needed` prompts are held out, one pair a prompt. */
function countMissing(needed: number, prompts: number, heldOutShare: number): number {
  return Math.max(1, Math.ceil((needed - prompts) / Math.max(heldOutShare, 0.01)));
}

function checkKl({ kl, klPerToken, sampleCount }: SampleEvaluation, bound: number): GateCheck {
  const finding = `KL to the root is ${format(kl, 2)} nats per response (${klPerToken.value.toFixed(3)} per token, ${sampleCount} samples)`;
  return toCheck('kl', kl, bound, kl.value <= bound, finding, `above ${bound}; lower LEARNING_RATE or raise GATE_KL`);
}

function checkChosenDrop(baseline: Evaluation, candidate: Evaluation, bound: number, seed: number): GateCheck {
  const drops = baseline.logps.chosen.map((logp, at) => logp - candidate.logps.chosen[at]!);
  const drop = estimateMean(drops, candidate.prompts, seed);
  const finding = `the log-probability of chosen responses fell by ${format(drop, 3)} nats per token`;
  const advice = `more than ${bound}; lower LEARNING_RATE or EPOCHS, or raise GATE_CHOSEN_DROP`;
  return toCheck('chosen_drop', drop, bound, drop.value <= bound, finding, advice);
}

function checkLength({ lengthRatio, metrics, baseline }: SampleEvaluation, bound: number): GateCheck {
  const name = 'completions/mean_length';
  const finding = `responses are ${format(lengthRatio, 2)} times as long as before (${metrics[name]!.toFixed(1)} tokens, ${baseline[name]!.toFixed(1)} before)`;
  const pass = lengthRatio.value <= bound && lengthRatio.value >= 1 / bound;
  const advice = `not within a factor of ${bound}; check whether raters choose by length, lower LEARNING_RATE, or raise GATE_LENGTH`;
  return toCheck('length', lengthRatio, bound, pass, finding, advice);
}

function checkRepetition({ repetitionGrowth, metrics, baseline }: SampleEvaluation, bound: number): GateCheck {
  const name = 'completions/repetition';
  const finding = `the share of repeated 4-grams in its samples changed by ${format(repetitionGrowth, 3)} (${metrics[name]!.toFixed(3)}, ${baseline[name]!.toFixed(3)} before)`;
  const advice = `more than ${bound}; lower LEARNING_RATE or EPOCHS, or raise GATE_REPETITION`;
  return toCheck('repetition', repetitionGrowth, bound, repetitionGrowth.value <= bound, finding, advice);
}

function toCheck(
  name: GateCheck['name'],
  { value, interval }: Estimate,
  bound: number,
  pass: boolean,
  finding: string,
  advice: string,
): GateCheck {
  return {
    name,
    measured: value,
    interval,
    bound,
    pass,
    needed: null,
    message: pass ? finding : `${finding}, ${advice}`,
  };
}

/** `57.0% [48.2, 66.1]` */
function formatPercent({ value, interval }: Estimate): string {
  const percent = (share: number) => (100 * share).toFixed(1);
  return `${percent(value)}%${interval ? ` [${percent(interval.low)}, ${percent(interval.high)}]` : ''}`;
}

/** `0.0102 [0.0031, 0.0180]` */
function format({ value, interval }: Estimate, digits: number): string {
  const number = (x: number) => x.toFixed(digits);
  return interval ? `${number(value)} [${number(interval.low)}, ${number(interval.high)}]` : number(value);
}
