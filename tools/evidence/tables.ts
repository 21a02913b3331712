// Rows of the page's tables.
import { html } from 'hono/html';
import type { Html } from '../report/components.ts';
import { formatPercent } from '../report/statistics.ts';
import type { Equivalence } from './equivalences.ts';
import { formula } from './formula.ts';
import {
  chosenAtKl,
  formatSigned,
  getOutcome,
  type Outcome,
  onlyFirstSeed,
  type Summary,
  summarize,
} from './metrics.ts';
import type { PreferenceStudy } from './preference-study.ts';
import type { RaterStudy } from './rater-study.ts';
import type { ClosedForm, Comparison } from './toy-problem.ts';

const formatFixed = (value: number, digits: number) => value.toFixed(digits).replace('-', '−');
export const formatExponential = (value: number, digits = 1) =>
  value === 0 ? '0' : value.toExponential(digits).replace('-', '−');

/** The mean, and on the next line the range over seeds when there are several. */
function formatSummary({ mean, low, high, count }: Summary, write: (value: number) => string): string {
  return count === 1 ? write(mean) : `${write(mean)}\n[${write(low)},\u00a0${write(high)}]`;
}

export function closedFormRows(forms: ClosedForm[]): (string | Html)[][] {
  const head = [
    'objective',
    'loss at f = 0',
    html`gradient by ${formula('f_w, f_l')}`,
    'minimum',
    'analytic minimum',
    'r at the minimum',
    'policy',
    formula('policy = π_chosen'),
  ];
  return [
    head,
    ...forms.map(({ name, value, slopes, minimum, ratios, policy, findsChosen }) => [
      name,
      formatFixed(value.actual, 5),
      slopes.map(({ actual }) => formatSigned(actual, 3)).join(', '),
      formatFixed(minimum.actual, 6),
      formatFixed(minimum.expected, 6),
      ratios.map(({ actual }) => formatRatio(actual)).join(', '),
      policy.map(formatRatio).join(', '),
      findsChosen ? 'yes' : 'no',
    ]),
  ];
}

const formatRatio = (value: number) => (value < 0.001 ? formatExponential(value) : value.toFixed(4));

/** The largest difference between a numeric result and its formula. */
export function maxFormulaDifference(forms: ClosedForm[]): number {
  const gaps = forms.flatMap(({ value, slopes, minimum, ratios }) => [value, ...slopes, minimum, ...ratios]);
  return Math.max(...gaps.map(({ actual, expected }: Comparison) => Math.abs(actual - expected)));
}

export function equivalenceRows({ checks }: Equivalence): (string | Html)[][] {
  return [
    ['comparison', 'max. difference'],
    ...checks.map(({ what, difference }) => [formula(what), formatExponential(difference)]),
  ];
}

const OUTCOME_HEAD = [
  'chosen Δ log-prob., nats',
  'rejected Δ log-prob., nats',
  'Δ margin, nats',
  'accuracy, per token',
  'accuracy, summed',
  'KL, nats/response',
  'sample length, tokens',
];

function outcomeCells(outcome: Outcome): string[] {
  return [
    formatSummary(outcome.chosen, (value) => formatSigned(value)),
    formatSummary(outcome.rejected, (value) => formatSigned(value)),
    formatSummary(outcome.margin, (value) => formatSigned(value)),
    formatSummary(outcome.accuracy, formatPercent),
    formatSummary(outcome.accuracySum, formatPercent),
    formatSummary(outcome.kl, (value) => value.toFixed(2)),
    formatSummary(outcome.length, (value) => value.toFixed(1)),
  ];
}

/** Every method at the main learning rate, over its seeds. */
export function outcomeRows(study: PreferenceStudy): string[][] {
  return [
    ['objective', ...OUTCOME_HEAD],
    ...study.config.methods.flatMap((method) => {
      const outcome = getOutcome(study, method);
      return outcome ? [[method.name, ...outcomeCells(outcome)]] : [];
    }),
  ];
}

/** One seed at every learning rate, then the ablations. */
export function learningRateRows(study: PreferenceStudy): string[][] {
  const { methods, variants, learningRate, otherLearningRates } = study.config;
  const rates = [learningRate, ...otherLearningRates].sort((a, b) => a - b);
  const first = onlyFirstSeed(study);
  const row = (method: (typeof methods)[number], rate: number) => {
    const outcome = getOutcome(first, method, rate);
    return outcome ? [[method.name, formatExponential(rate, 0), ...outcomeCells(outcome)]] : [];
  };
  return [
    ['objective', 'learning rate', ...OUTCOME_HEAD],
    ...methods.flatMap((method) => rates.flatMap((rate) => row(method, rate))),
    ...variants.flatMap((variant) => row(variant, learningRate)),
  ];
}

/** Change of the chosen log-probability of every method at equal KL to the reference. */
export function equalKlRows(study: PreferenceStudy): string[][] {
  const outcomes = study.config.methods.flatMap((method) => getOutcome(onlyFirstSeed(study), method) ?? []);
  const head = ['at the KL of', ...study.config.methods.map(({ name }) => `${name}, chosen`)];
  return [
    head,
    ...outcomes.map(({ method, kl }) => [
      `${method.name}: ${kl.mean.toFixed(2)}`,
      ...study.config.methods.map((other) => {
        const chosen = chosenAtKl(study, other, kl.mean);
        return chosen === null ? '–' : formatSigned(chosen);
      }),
    ]),
  ];
}

export function raterStudyRows(study: RaterStudy): string[][] {
  return [
    ['objective', 'final KL(chosen ‖ policy)', 'final KL(policy ‖ chosen)', 'min. KL(chosen ‖ policy)', 'limit'],
    ...study.config.methods.map((method) => {
      const runs = study.runs.filter((run) => run.method.name === method.name);
      const over = (metric: (run: (typeof runs)[number]) => number) =>
        formatSummary(summarize(runs.map(metric)), (value) => value.toFixed(4));
      return [
        method.name,
        over(({ evaluations }) => evaluations.at(-1)!.forward),
        over(({ evaluations }) => evaluations.at(-1)!.backward),
        over(({ evaluations }) => Math.min(...evaluations.map(({ forward }) => forward))),
        formatLimit(study, method),
      ];
    }),
  ];
}

/** KL(chosen ‖ policy) at the minimum of the expected loss, if known. */
function formatLimit({ limits }: RaterStudy, { objective }: RaterStudy['config']['methods'][number]): string {
  if (objective.objective === 'dpo') return limits.find(({ beta }) => beta === objective.beta)!.forward.toFixed(4);
  if (objective.objective === 'sft') return '0';
  return objective.negatives === 'both' && objective.reduction === 'sum' ? '0' : 'not 0';
}
