// The page's tables, as rows of text.
import { type Html, html } from '../report/html.ts';
import type { Study } from './compare.ts';
import type { Equivalence } from './equivalences.ts';
import { chosenAt, firstSeedOf, type Outcome, outcomeOf, type Spread, signed, spreadOf } from './figures.ts';
import { formula } from './formula.ts';
import type { Taste } from './taste.ts';
import type { Both, ClosedForm } from './world.ts';

const real = (value: number, digits: number) => value.toFixed(digits).replace('-', '−');
export const small = (value: number, digits = 1) => (value === 0 ? '0' : value.toExponential(digits).replace('-', '−'));

/** Mean, and below it from where to where, where there are several. */
function spread({ mean, low, high, count }: Spread, write: (value: number) => string): string {
  return count === 1 ? write(mean) : `${write(mean)}\n[${write(low)},\u00a0${write(high)}]`;
}

export function closedFormRows(forms: ClosedForm[]): (string | Html)[][] {
  const head = [
    'objective',
    'value at f = 0',
    html`slopes by ${formula('f_w, f_l')}`,
    'minimum',
    'by formula',
    'r found',
    'policy',
    'r*?',
  ];
  return [
    head,
    ...forms.map(({ name, value, slopes, minimum, ratios, policy, findsChosen }) => [
      name,
      real(value.found, 5),
      slopes.map(({ found }) => signed(found, 3)).join(', '),
      real(minimum.found, 6),
      real(minimum.expected, 6),
      ratios.map(({ found }) => ratio(found)).join(', '),
      policy.map(ratio).join(', '),
      findsChosen ? 'yes' : 'no',
    ]),
  ];
}

const ratio = (value: number) => (value < 0.001 ? small(value) : value.toFixed(4));

/** The largest difference between a number that was found and its formula. */
export function largestGap(forms: ClosedForm[]): number {
  const gaps = forms.flatMap(({ value, slopes, minimum, ratios }) => [value, ...slopes, minimum, ...ratios]);
  return Math.max(...gaps.map(({ found, expected }: Both) => Math.abs(found - expected)));
}

export function equivalenceRows({ checks }: Equivalence): (string | Html)[][] {
  return [
    ['compared', 'largest difference'],
    ...checks.map(({ what, difference }) => [formula(what), small(difference)]),
  ];
}

const OUTCOME_HEAD = [
  'chosen, change in nats',
  'rejected, change in nats',
  'margin, nats',
  'accuracy, per token',
  'accuracy, summed',
  'KL, nats a response',
  'sampled tokens',
];

function outcomeCells(outcome: Outcome): string[] {
  const share = (value: number) => `${(100 * value).toFixed(1)}%`;
  return [
    spread(outcome.chosen, (value) => signed(value)),
    spread(outcome.rejected, (value) => signed(value)),
    spread(outcome.margin, (value) => signed(value)),
    spread(outcome.accuracy, share),
    spread(outcome.accuracySum, share),
    spread(outcome.kl, (value) => value.toFixed(2)),
    spread(outcome.length, (value) => value.toFixed(1)),
  ];
}

/** Every objective at the common learning rate, over its seeds. */
export function outcomeRows(study: Study): string[][] {
  return [
    ['objective', ...OUTCOME_HEAD],
    ...study.plan.contenders.flatMap((contender) => {
      const outcome = outcomeOf(study, contender);
      return outcome ? [[contender.name, ...outcomeCells(outcome)]] : [];
    }),
  ];
}

/** One seed at every learning rate, the variants last. */
export function rateRows(study: Study): string[][] {
  const { contenders, variants, learningRate, otherRates } = study.plan;
  const rates = [learningRate, ...otherRates].sort((a, b) => a - b);
  const first = firstSeedOf(study);
  const row = (contender: (typeof contenders)[number], rate: number) => {
    const outcome = outcomeOf(first, contender, rate);
    return outcome ? [[contender.name, small(rate, 0), ...outcomeCells(outcome)]] : [];
  };
  return [
    ['objective', 'learning rate', ...OUTCOME_HEAD],
    ...contenders.flatMap((contender) => rates.flatMap((rate) => row(contender, rate))),
    ...variants.flatMap((variant) => row(variant, learningRate)),
  ];
}

/** Each objective's chosen log-probability where all have gone equally far. */
export function equalRows(study: Study): string[][] {
  const outcomes = study.plan.contenders.flatMap((contender) => outcomeOf(firstSeedOf(study), contender) ?? []);
  const head = ['KL of …, nats', ...study.plan.contenders.map(({ name }) => `${name}, chosen`)];
  return [
    head,
    ...outcomes.map(({ contender, kl }) => [
      `${contender.name}: ${kl.mean.toFixed(2)}`,
      ...study.plan.contenders.map((other) => {
        const chosen = chosenAt(study, other, kl.mean);
        return chosen === null ? '–' : signed(chosen);
      }),
    ]),
  ];
}

export function tasteRows(taste: Taste): string[][] {
  return [
    ['objective', 'KL(chosen ‖ policy) at the end', 'KL(policy ‖ chosen) at the end', 'least on the way', 'its limit'],
    ...taste.plan.contenders.map((contender) => {
      const runs = taste.runs.filter((run) => run.contender.name === contender.name);
      const over = (tell: (run: (typeof runs)[number]) => number) =>
        spread(spreadOf(runs.map(tell)), (value) => value.toFixed(4));
      return [
        contender.name,
        over(({ looks }) => looks.at(-1)!.forward),
        over(({ looks }) => looks.at(-1)!.backward),
        over(({ looks }) => Math.min(...looks.map(({ forward }) => forward))),
        limitOf(taste, contender),
      ];
    }),
  ];
}

/** Where endless training on endless pairs would end, where that is known. */
function limitOf({ limits }: Taste, { objective }: Taste['plan']['contenders'][number]): string {
  if (objective.objective === 'dpo') return limits.find(({ beta }) => beta === objective.beta)!.forward.toFixed(4);
  if (objective.objective === 'sft') return '0';
  return objective.negatives === 'both' && objective.reduction === 'sum' ? '0' : 'not 0';
}
