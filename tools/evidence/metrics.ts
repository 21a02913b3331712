// Metrics of the runs for plots and tables. A run's metrics are means over the held-out pairs; a method's are the mean,
// minimum and maximum over its seeds.
import { mean } from '../report/statistics.ts';
import type { Method } from './config.ts';
import type { PreferenceStudy } from './preference-study.ts';
import type { RaterStudy } from './rater-study.ts';
import type { Evaluation, TrainingRun } from './training-run.ts';

/** Mean and range over seeds. */
export type Summary = { mean: number; low: number; high: number; count: number };

export function summarize(values: number[]): Summary {
  return { mean: mean(values), low: Math.min(...values), high: Math.max(...values), count: values.length };
}

/** All seeds of a method at a learning rate; default: the main one. */
export function findRuns(
  study: PreferenceStudy,
  { name }: Method,
  learningRate = study.config.learningRate,
): TrainingRun[] {
  return study.runs.filter((run) => run.method.name === name && run.learningRate === learningRate);
}

export type Side = 'chosen' | 'rejected';

/** Mean log-probability of a response, summed over its tokens. */
const meanLogp = (evaluation: Evaluation, side: Side) => mean(evaluation[side]);

/** Change of the mean log-probability since step 0, where the policy is the reference. */
export const logpChange = (run: TrainingRun, evaluation: Evaluation, side: Side) =>
  meanLogp(evaluation, side) - meanLogp(run.evaluations[0]!, side);

/** Log-probability per token of each held-out response. */
export function logpPerToken(study: PreferenceStudy, evaluation: Evaluation, side: Side): number[] {
  return evaluation[side].map((logp, i) => logp / study.lengths[side][i]!);
}

/** Share of pairs whose chosen response gained more log-probability than the rejected one, summed or per token. */
export function accuracy(
  study: PreferenceStudy,
  run: TrainingRun,
  evaluation: Evaluation,
  reduction: 'sum' | 'mean',
): number {
  const gain = (side: Side, i: number) =>
    (evaluation[side][i]! - run.evaluations[0]![side][i]!) / (reduction === 'mean' ? study.lengths[side][i]! : 1);
  return mean(evaluation.chosen.map((_, i) => (gain('chosen', i) > gain('rejected', i) ? 1 : 0)));
}

export const lastEvaluation = (run: TrainingRun) => run.evaluations.at(-1)!;

export type Outcome = {
  method: Method;
  learningRate: number;
  chosen: Summary;
  rejected: Summary;
  margin: Summary;
  accuracy: Summary;
  accuracySum: Summary;
  kl: Summary;
  /** Tokens of the policy's own samples. */
  length: Summary;
};

/** Final metrics of a method; null without runs. */
export function getOutcome(
  study: PreferenceStudy,
  method: Method,
  learningRate = study.config.learningRate,
): Outcome | null {
  const runs = findRuns(study, method, learningRate);
  if (runs.length === 0) return null;
  const over = (metric: (run: TrainingRun) => number) => summarize(runs.map(metric));
  return {
    method,
    learningRate,
    chosen: over((run) => logpChange(run, lastEvaluation(run), 'chosen')),
    rejected: over((run) => logpChange(run, lastEvaluation(run), 'rejected')),
    margin: over(
      (run) => logpChange(run, lastEvaluation(run), 'chosen') - logpChange(run, lastEvaluation(run), 'rejected'),
    ),
    accuracy: over((run) => accuracy(study, run, lastEvaluation(run), 'mean')),
    accuracySum: over((run) => accuracy(study, run, lastEvaluation(run), 'sum')),
    kl: over((run) => lastEvaluation(run).kl!.kl),
    length: over((run) => lastEvaluation(run).kl!.meanLength),
  };
}

/**
 * Change of the chosen log-probability at the given KL to the reference, interpolated linearly between learning rates of
 * the first seed; null outside their range.
 */
export function chosenAtKl(study: PreferenceStudy, method: Method, kl: number): number | null {
  const { learningRate, otherLearningRates } = study.config;
  const path = [learningRate, ...otherLearningRates]
    .flatMap((rate) => getOutcome(onlyFirstSeed(study), method, rate) ?? [])
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

export function onlyFirstSeed(study: PreferenceStudy): PreferenceStudy {
  return { ...study, runs: study.runs.filter((run) => run.seed === study.config.seeds[0]) };
}

/** Tests the paper's claim about the chosen log-probability; the sentence states the result for or against it. */
export function concludeStudy(study: PreferenceStudy): { sentence: string; fell: boolean; least: boolean } {
  const outcomes = study.config.methods.flatMap((method) => getOutcome(study, method) ?? []);
  const dpo = outcomes.find(({ method }) => method.objective.objective === 'dpo');
  const dilOutcomes = outcomes.filter(({ method }) =>
    ['lsif', 'ukl', 'bce'].includes(method.objective.objective ?? 'lsif'),
  );
  if (!dpo || dilOutcomes.length === 0)
    throw new Error('internal: evidence: the config has no method to compare with dpo');
  const fell = dpo.chosen.high < 0;
  // Ranges over seeds must not overlap.
  const least = dilOutcomes.every(({ chosen }) => chosen.low > dpo.chosen.high);
  const each = dilOutcomes.map(({ method, chosen }) => `${method.name} ${formatSigned(chosen.mean)}`).join(', ');
  const direction = fell ? 'falls' : dpo.chosen.low > 0 ? 'rises' : 'has no consistent sign';
  const comparison = least
    ? 'and stays higher under every objective of Direct Imitation Learning'
    : 'and does not stay higher under every objective of Direct Imitation Learning';
  return {
    fell,
    least,
    sentence: `Under DPO the chosen log-probability ${direction} (${formatSigned(dpo.chosen.mean)} nats/response) ${comparison} (${each})`,
  };
}

/** Methods that end closer to the chosen distribution than the reference, closest first, and those that end farther. */
export function concludeRaterStudy({ config, runs, start }: RaterStudy): string {
  const ends = config.methods
    .map(({ name }) => {
      const seeds = runs.filter(({ method }) => method.name === name);
      return { name, end: mean(seeds.map(({ evaluations }) => evaluations.at(-1)!.forward)) };
    })
    .sort((a, b) => a.end - b.end);
  const list = (some: typeof ends) => some.map(({ name, end }) => `${name} ${end.toFixed(4)}`).join(', ') || 'none';
  const [closer, farther] = [ends.filter(({ end }) => end < start), ends.filter(({ end }) => end >= start)];
  return `Closer to the chosen distribution than the reference (${start.toFixed(4)} nats): ${list(closer)}. Farther: ${list(farther)}.`;
}

/** With a sign, except when it rounds to zero. */
export function formatSigned(value: number, digits = 2): string {
  const size = Math.abs(value).toFixed(digits);
  if (Number(size) === 0) return size;
  return `${value < 0 ? '−' : '+'}${size}`;
}
