// Figures out of runs: what the plots draw and the tables say. A run's numbers are means over the held-out pairs; what
// stands for an objective is the mean over its seeds, with the least and the greatest beside it.
import { mean } from '../report/statistics.ts';
import type { Study } from './compare.ts';
import type { Contender } from './plan.ts';
import type { Look, Run } from './study.ts';
import type { Taste } from './taste.ts';

export type Spread = { mean: number; low: number; high: number; count: number };

export function spreadOf(values: number[]): Spread {
  return { mean: mean(values), low: Math.min(...values), high: Math.max(...values), count: values.length };
}

/** The runs of an objective at a learning rate. */
export function runsOf(study: Study, { name }: Contender, learningRate = study.plan.learningRate): Run[] {
  return study.runs.filter((run) => run.contender.name === name && run.learningRate === learningRate);
}

export type Side = 'chosen' | 'rejected';

/** Mean log-probability of a response, summed over its tokens. */
export const logpOf = (look: Look, side: Side) => mean(look[side]);

/** What that has changed by since the reference. */
export const changeOf = (run: Run, look: Look, side: Side) => logpOf(look, side) - logpOf(run.looks[0]!, side);

/** Log-probability per token of each held-out response. */
export function perToken(study: Study, look: Look, side: Side): number[] {
  return look[side].map((logp, i) => logp / study.lengths[side][i]!);
}

/** Share of pairs whose chosen response has gained more than the rejected one: over its length, or per token. */
export function accuracyOf(study: Study, run: Run, look: Look, reduction: 'sum' | 'mean'): number {
  const gain = (side: Side, i: number) =>
    (look[side][i]! - run.looks[0]![side][i]!) / (reduction === 'mean' ? study.lengths[side][i]! : 1);
  return mean(look.chosen.map((_, i) => (gain('chosen', i) > gain('rejected', i) ? 1 : 0)));
}

export const lastOf = (run: Run) => run.looks.at(-1)!;

export type Outcome = {
  contender: Contender;
  learningRate: number;
  chosen: Spread;
  rejected: Spread;
  margin: Spread;
  accuracy: Spread;
  accuracySum: Spread;
  kl: Spread;
  /** Tokens of what it samples. */
  length: Spread;
};

/** Where an objective ended, over its seeds. */
export function outcomeOf(study: Study, contender: Contender, learningRate = study.plan.learningRate): Outcome | null {
  const runs = runsOf(study, contender, learningRate);
  if (runs.length === 0) return null;
  const over = (tell: (run: Run) => number) => spreadOf(runs.map(tell));
  return {
    contender,
    learningRate,
    chosen: over((run) => changeOf(run, lastOf(run), 'chosen')),
    rejected: over((run) => changeOf(run, lastOf(run), 'rejected')),
    margin: over((run) => changeOf(run, lastOf(run), 'chosen') - changeOf(run, lastOf(run), 'rejected')),
    accuracy: over((run) => accuracyOf(study, run, lastOf(run), 'mean')),
    accuracySum: over((run) => accuracyOf(study, run, lastOf(run), 'sum')),
    kl: over((run) => lastOf(run).divergence!.kl),
    length: over((run) => lastOf(run).divergence!.meanLength),
  };
}

/**
 * What an objective has made of the chosen log-probability where its KL to the reference is `kl`, along its learning
 * rates with one seed; null where it was never there.
 */
export function chosenAt(study: Study, contender: Contender, kl: number): number | null {
  const { learningRate, otherRates } = study.plan;
  const path = [learningRate, ...otherRates]
    .flatMap((rate) => outcomeOf(firstSeedOf(study), contender, rate) ?? [])
    .map((outcome) => ({ kl: outcome.kl.mean, chosen: outcome.chosen.mean }))
    .sort((a, b) => a.kl - b.kl);
  const above = path.findIndex((point) => point.kl >= kl);
  if (above < 0) return null;
  if (path[above]!.kl === kl) return path[above]!.chosen;
  if (above === 0) return null;
  const [low, high] = [path[above - 1]!, path[above]!];
  const share = (kl - low.kl) / (high.kl - low.kl);
  return low.chosen + share * (high.chosen - low.chosen);
}

export function firstSeedOf(study: Study): Study {
  return { ...study, runs: study.runs.filter((run) => run.seed === study.plan.seeds[0]) };
}

/** Whether what the paper says of the chosen log-probability came out, in words. */
export function judgeStudy(study: Study): { sentence: string; fell: boolean; least: boolean } {
  const outcomes = study.plan.contenders.flatMap((contender) => outcomeOf(study, contender) ?? []);
  const dpo = outcomes.find(({ contender }) => contender.objective.objective === 'dpo');
  const imitating = outcomes.filter(({ contender }) =>
    ['lsif', 'ukl', 'bce'].includes(contender.objective.objective ?? 'lsif'),
  );
  if (!dpo || imitating.length === 0) throw new Error('internal: evidence: the plan compares nothing with dpo');
  const fell = dpo.chosen.high < 0;
  // Apart even where each is at its worst for the claim.
  const least = imitating.every(({ chosen }) => chosen.low > dpo.chosen.high);
  const each = imitating.map(({ contender, chosen }) => `${contender.name} ${signed(chosen.mean)}`).join(', ');
  const moved = fell ? 'falls' : dpo.chosen.low > 0 ? 'rises' : 'goes either way';
  const verdict = least
    ? 'and under every objective of Direct Imitation Learning it stays higher'
    : 'and not every objective of Direct Imitation Learning keeps it higher';
  return {
    fell,
    least,
    sentence: `Under DPO the chosen log-probability ${moved} (${signed(dpo.chosen.mean)} nats a response), ${verdict} (${each})`,
  };
}

/** Who ends nearer to what raters choose than the reference is, nearest first, and who ends farther away. */
export function judgeTaste({ plan, runs, start }: Taste): string {
  const ends = plan.contenders
    .map(({ name }) => {
      const own = runs.filter(({ contender }) => contender.name === name);
      return { name, end: mean(own.map(({ looks }) => looks.at(-1)!.forward)) };
    })
    .sort((a, b) => a.end - b.end);
  const list = (some: typeof ends) => some.map(({ name, end }) => `${name} ${end.toFixed(4)}`).join(', ') || 'none';
  const [nearer, farther] = [ends.filter(({ end }) => end < start), ends.filter(({ end }) => end >= start)];
  return `Nearer than the reference (${start.toFixed(4)} nats): ${list(nearer)}. Farther: ${list(farther)}.`;
}

/** With its sign; what rounds to nothing has none. */
export function signed(value: number, digits = 2): string {
  const size = Math.abs(value).toFixed(digits);
  if (Number(size) === 0) return size;
  return `${value < 0 ? '−' : '+'}${size}`;
}
