// Rows of the online page's tables.
import { formatPercent } from '../../report/statistics.ts';
import { formatSigned } from '../metrics.ts';
import type { BestOfRun } from './best-of.ts';
import { describeMethod, isDil } from './config.ts';
import {
  averageReplicates,
  averageRuns,
  compareFactor,
  compareMethods,
  type Effect,
  type Factor,
  type MethodRuns,
  meanPath,
  type ReplicateMean,
} from './frontier.ts';
import { GATE_STATISTICS, listCandidates, measurePassRates, type Truth } from './gate-power.ts';
import type { OnlineRun } from './loop.ts';
import { winRateAtKl } from './path.ts';
import type { BestOfStudy } from './study.ts';
import type { Votes } from './tastes.ts';

/** Nats per response at which win rates are listed. */
const KL_POINTS = [1, 2, 5];

/** The longest lead over dpo first; methods are compared with dpo at their own learning rate. */
export function methodRows(methods: readonly MethodRuns[]): string[][] {
  const atKl = ({ runs }: MethodRuns, kl: number): ReplicateMean | null => {
    const rates = averageRuns(runs, (run) => winRateAtKl(run, kl));
    return rates.count < runs.length ? null : rates;
  };
  const rows = methods.map((method) => {
    const last = meanPath(method).at(-1)!;
    const dpo = methods.find((other) => isStandardDpo(other) && other.spec.learningRate === method.spec.learningRate);
    const lead = dpo ? compareMethods(method, dpo) : null;
    return {
      order: lead?.value ?? Number.NEGATIVE_INFINITY,
      cells: [
        method.name,
        formatLead(lead),
        ...KL_POINTS.map((kl) => formatRate(atKl(method, kl))),
        formatPercent(last.winRate),
        last.kl.toFixed(1),
        formatSigned(last.chosen, 1),
        last.length.toFixed(1),
      ],
    };
  });
  return [
    [
      'method',
      'lead over dpo',
      ...KL_POINTS.map((kl) => `win rate at KL ${kl}`),
      'at the end',
      'KL',
      'Δ chosen',
      'length',
    ],
    ...rows.sort((a, b) => b.order - a.order).map(({ cells }) => cells),
  ];
}

/** dpo as TRL has it, against the root. */
function isStandardDpo({ spec }: MethodRuns): boolean {
  return spec.objective === 'dpo' && spec.reduction === 'sum' && spec.reference === 'root';
}

const CHOICES: [factor: Factor, from: string, to: string][] = [
  ['objective', 'lsif', 'ukl'],
  ['objective', 'lsif', 'bce'],
  ['reduction', 'mean', 'sum'],
  ['negatives', 'rejected', 'both'],
  ['reference', 'root', 'parent'],
  ['weighting', 'none', 'importance'],
];

export function effectRows(runs: OnlineRun[]): string[][] {
  const kept = runs.filter(({ spec }) => isDil(spec));
  return [
    ['choice', 'lead', ...KL_POINTS.map((kl) => `win rate at KL ${kl}`)],
    ...CHOICES.map(([factor, from, to]) => [
      `${factor}: ${to} instead of ${from}`,
      formatLead(compareFactor(kept, factor, from, to).difference),
      ...KL_POINTS.map((kl) => formatEffect(compareFactor(kept, factor, from, to, kl))),
    ]),
  ];
}

export function bestOfRows({ runs }: BestOfStudy): string[][] {
  const groups = [...Map.groupBy(runs, ({ spec }) => spec.ranker)];
  const counts = runs[0]?.points.map(({ n, kl }) => ({ n, kl })) ?? [];
  return [
    [
      'ranker',
      'accuracy on held-out pairs',
      ...counts.map(({ n, kl }) => `win rate, n = ${n} (KL ≤ ${kl.toFixed(2)})`),
    ],
    ...groups.map(([ranker, members]) => {
      const over = (value: (run: BestOfRun) => number) =>
        averageReplicates(members.map((run) => ({ replicate: run.spec.seed, value: value(run) })));
      return [
        ranker,
        formatRate(over(({ accuracy }) => accuracy)),
        ...counts.map((_, at) => formatRate(over(({ points }) => points[at]!.winRate))),
      ];
    }),
  ];
}

export function replayRows(runs: readonly OnlineRun[]): string[][] {
  const groups = [...Map.groupBy(runs, ({ spec }) => `${describeMethod(spec)}, replay ${spec.replay}`)].sort();
  return [
    ['method', 'win rate', 'KL', 'margin of round 1 after it', 'after the last round'],
    ...groups.map(([name, members]) => {
      const over = (value: (run: OnlineRun) => number | null) => averageRuns(members, value);
      return [
        name,
        formatRate(over(({ rounds }) => rounds.at(-1)!.winRate)),
        formatMean(over(({ rounds }) => rounds.at(-1)!.kl)),
        formatMean(over(({ rounds }) => rounds[0]!.earlierMargins[0]!)),
        formatMean(over(({ rounds }) => rounds.at(-1)!.earlierMargins[0]!)),
      ];
    }),
  ];
}

/** Win rate and KL of each value of a setting, after each round. */
export function choiceRows(runs: readonly OnlineRun[], factor: Factor): string[][] {
  const groups = [...Map.groupBy(runs, ({ spec }) => `${describeMethod(spec)}, ${spec[factor]}`)].sort();
  return [
    [`method, ${factor}`, ...[1, 2, 3].flatMap((round) => [`win rate, round ${round}`, 'KL'])],
    ...groups.map(([name, members]) => [
      name,
      ...[0, 1, 2].flatMap((at) => [
        formatRate(averageRuns(members, ({ rounds }) => rounds[at]!.winRate)),
        formatMean(averageRuns(members, ({ rounds }) => rounds[at]!.kl)),
      ]),
    ]),
  ];
}

const PAIR_COUNTS = [60, 120, 300];

export function powerRows(runs: readonly OnlineRun[]): string[][] {
  const candidates = listCandidates(runs);
  const select = (votes: Votes, truths: Truth[]) =>
    candidates.filter(({ run, truth }) => run.spec.votes === votes && truths.includes(truth)).map(({ round }) => round);
  const kinds = [
    { name: 'better', rounds: select('taste', ['better']) },
    { name: 'random', rounds: select('random', ['worse', 'unclear']) },
    { name: 'inverted', rounds: select('inverted', ['worse', 'unclear']) },
  ].filter(({ rounds }) => rounds.length > 0);
  const rates = kinds.map(({ rounds }) => measurePassRates(rounds, PAIR_COUNTS));
  const count = (at: number) => rates[at]![0]!.candidates;
  return [
    [
      'statistic',
      ...kinds.flatMap(({ name }, at) => PAIR_COUNTS.map((pairs) => `${name} (${count(at)}), ${pairs} pairs`)),
    ],
    ...GATE_STATISTICS.map(({ name }) => [
      name,
      ...rates.flatMap((rate) =>
        rate.filter(({ statistic }) => statistic === name).map(({ rate }) => formatPercent(rate, 0)),
      ),
    ]),
  ];
}

function formatRate(rate: ReplicateMean | null): string {
  return rate ? `${formatPercent(rate.value)}${formatError(rate.error, (error) => (100 * error).toFixed(1))}` : '–';
}

function formatMean({ value, error }: ReplicateMean): string {
  return `${value.toFixed(2)}${formatError(error, (error) => error.toFixed(2))}`;
}

function formatError(error: number | null, write: (error: number) => string): string {
  return error === null ? '' : ` ± ${write(error)}`;
}

function formatEffect({ difference, pairs, dropped }: Effect): string {
  if (pairs === 0) return '–';
  const error = formatError(difference.error, (error) => (100 * error).toFixed(1));
  return `${formatSigned(100 * difference.value, 1)}${error} (${pairs} pairs, ${dropped} left out)`;
}

function formatLead(lead: ReplicateMean | null): string {
  if (!lead) return '–';
  return `${formatSigned(100 * lead.value, 1)}${formatError(lead.error, (error) => (100 * error).toFixed(1))}`;
}
