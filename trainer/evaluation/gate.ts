// Whether a trained policy may replace its parent: only where the held-out pairs leave no doubt that it is better by the
// objective, and nothing says that it became so by leaving the language. The objective alone cannot see that: it is
// content with a policy that makes the rejected responses unlikely and writes what nobody compared.
//
// The bounds are alarms, not targets. What a round of pairs asks for is small: the better of two responses is at most
// ln 2 − ½ = 0.19 nats from where both came from. A healthy round of the demo takes 0.05 nats a token off the chosen
// responses; the learning rates that broke the small model took 0.84.
import type { GateCheck } from '../../shared/database/round-types.ts';
import { type Estimate, estimateMean } from './confidence-interval.ts';
import type { Evaluation, SampleEvaluation } from './evaluation.ts';

/** As RoundSettings has them. */
export type GateBounds = {
  /** Nats of KL(policy ‖ reference) per response. */
  gate_kl: number;
  /** Nats that the chosen responses' log-probability per token may lose to the parent. */
  gate_chosen_drop: number;
  /** By which factor the mean length may grow, or shrink. */
  gate_length: number;
  /** What the share of repeated runs of four tokens may grow by. */
  gate_repetition: number;
};

export type Verdict = { pass: boolean; reason: string; checks: GateCheck[] };

/** The first metric that is not a number. Such a policy cannot write samples; `judge` then needs none. */
export function findBroken({ metrics }: Pick<Evaluation, 'metrics'>): [name: string, value: number] | null {
  return Object.entries(metrics).find(([, value]) => !Number.isFinite(value)) ?? null;
}

/**
 * Both evaluations are of the same held-out pairs, by the same objective, against the same reference; the samples are
 * the candidate's beside the parent's. They may be null only where the candidate's metrics are not all numbers.
 */
export function judge(
  parent: Evaluation,
  candidate: Evaluation,
  samples: SampleEvaluation | null,
  bounds: GateBounds,
  seed = 0,
): Verdict {
  const broken = findBroken(candidate);
  if (broken) return refuseBroken(`${broken[0]} on held-out pairs is ${broken[1]}`);
  if (!samples) throw new Error('internal: gate: a policy whose metrics are numbers is judged by its samples too');
  const brokenSamples = findBroken(samples);
  if (brokenSamples) return refuseBroken(`${brokenSamples[0]} on its own samples is ${brokenSamples[1]}`);

  const improvement = checkImprovement(parent, candidate, seed);
  const kl = checkKl(samples, bounds.gate_kl);
  const checks = [
    improvement,
    kl,
    checkChosen(parent, candidate, bounds.gate_chosen_drop, seed),
    checkLength(samples, bounds.gate_length),
    checkRepetition(samples, bounds.gate_repetition),
  ];
  const failed = checks.filter(({ pass }) => !pass);
  const told = failed.length > 0 ? failed : [improvement, kl];
  return {
    pass: failed.length === 0,
    reason: `gate: ${failed.length > 0 ? 'refused: ' : ''}${told.map(({ message }) => message).join('; ')}`,
    checks,
  };
}

function refuseBroken(what: string): Verdict {
  const message = `${what}; training diverged: lower LEARNING_RATE or use REDUCTION=mean`;
  const check: GateCheck = { name: 'finite', measured: null, interval: null, bound: null, pass: false, message };
  return { pass: false, reason: `gate: refused: ${message}`, checks: [check] };
}

function checkImprovement(parent: Evaluation, candidate: Evaluation, seed: number): GateCheck {
  const gains = parent.outcomes.map(({ loss }, at) => loss - candidate.outcomes[at]!.loss);
  const { value, interval } = estimateMean(gains, candidate.prompts, seed);
  const prompts = new Set(candidate.prompts).size;
  const pairs = `${gains.length} pairs on ${prompts} prompts`;
  const [before, after] = [parent.metrics.loss!, candidate.metrics.loss!].map((loss) => loss.toFixed(5));
  const told = `the held-out loss went from ${before} to ${after}, an improvement of ${show({ value, interval }, 5)}, over ${pairs}`;
  const pass = interval !== null && interval.low > 0;
  const say = (verdict: string, advice: string) => `${verdict}: ${told}${advice && `; ${advice}`}`;
  const message = pass
    ? say('better than its parent', '')
    : interval === null
      ? say('too few prompts are held out to be sure', 'collect more pairs on other prompts, or raise TRAIN_HELD_OUT')
      : value > 0
        ? say('not surely better than its parent', 'collect more pairs')
        : say('no better than its parent', 'collect more pairs, or lower LEARNING_RATE');
  return { name: 'improvement', measured: value, interval, bound: 0, pass, message };
}

function checkKl({ kl, klPerToken, draws }: SampleEvaluation, bound: number): GateCheck {
  const told = `KL to the reference is ${show(kl, 2)} nats per response (${klPerToken.value.toFixed(3)} per token, ${draws} samples)`;
  return check('kl', kl, bound, kl.value <= bound, told, `above ${bound}; lower LEARNING_RATE or raise GATE_KL`);
}

function checkChosen(parent: Evaluation, candidate: Evaluation, bound: number, seed: number): GateCheck {
  const drops = parent.logps.chosen.map((logp, at) => logp - candidate.logps.chosen[at]!);
  const drop = estimateMean(drops, candidate.prompts, seed);
  const told = `the log-probability of chosen responses fell by ${show(drop, 3)} nats per token`;
  const advice = `more than ${bound}; lower LEARNING_RATE or EPOCHS, or raise GATE_CHOSEN_DROP`;
  return check('chosen_drop', drop, bound, drop.value <= bound, told, advice);
}

function checkLength({ lengthRatio, metrics, parent }: SampleEvaluation, bound: number): GateCheck {
  const name = 'completions/mean_length';
  const told = `responses are ${show(lengthRatio, 2)} times as long as the parent's (${metrics[name]!.toFixed(1)} tokens, ${parent[name]!.toFixed(1)} before)`;
  const pass = lengthRatio.value <= bound && lengthRatio.value >= 1 / bound;
  const advice = `not within a factor of ${bound}; see whether raters choose by length, lower LEARNING_RATE, or raise GATE_LENGTH`;
  return check('length', lengthRatio, bound, pass, told, advice);
}

function checkRepetition({ repetitionGrowth, metrics, parent }: SampleEvaluation, bound: number): GateCheck {
  const name = 'completions/repetition';
  const told = `the share of repeated 4-grams in its samples changed by ${show(repetitionGrowth, 3)} (${metrics[name]!.toFixed(3)}, ${parent[name]!.toFixed(3)} before)`;
  const advice = `more than ${bound}; lower LEARNING_RATE or EPOCHS, or raise GATE_REPETITION`;
  return check('repetition', repetitionGrowth, bound, repetitionGrowth.value <= bound, told, advice);
}

function check(
  name: GateCheck['name'],
  { value, interval }: Estimate,
  bound: number,
  pass: boolean,
  told: string,
  advice: string,
): GateCheck {
  return { name, measured: value, interval, bound, pass, message: pass ? told : `${told}, ${advice}` };
}

/** As `0.0102 [0.0031, 0.0180]`. */
function show({ value, interval }: Estimate, digits: number): string {
  const number = (x: number) => x.toFixed(digits);
  return interval ? `${number(value)} [${number(interval.low)}, ${number(interval.high)}]` : number(value);
}
