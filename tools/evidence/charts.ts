// Plots on real preferences in which the objectives share one pair of axes.
import { axis, draw, legend } from '../report/chart.ts';
import { colourOf, drawBand, overSteps } from './band.ts';
import type { Study } from './compare.ts';
import { accuracyOf, changeOf, firstSeedOf, outcomeOf, runsOf, type Side } from './figures.ts';
import type { Contender } from './plan.ts';
import type { Look, Run } from './study.ts';

type Told = { name: string; title: string; tell: (study: Study, run: Run, look: Look) => number | null };

export const ACCURACY: Told = {
  name: 'held-out-accuracy-by-step',
  title: 'held-out accuracy',
  tell: (study, run, look) => (look.step === 0 ? 0.5 : accuracyOf(study, run, look, 'mean')),
};
export const KL: Told = {
  name: 'kl-to-the-reference-by-step',
  title: 'KL to the reference, nats a response',
  tell: (_, __, look) => look.divergence?.kl ?? 0,
};

/** One number for each objective, step by step. */
export function drawCurve(study: Study, { name, title, tell }: Told, width: number): string {
  const { contenders } = study.plan;
  const steps = study.runs[0]!.looks.at(-1)!.step;
  return draw(name, width, 290, {
    ...legend(contenders.map((contender) => contender.name)),
    grid: { left: 58, right: 16, top: 34, bottom: 44 },
    xAxis: axis('step', { type: 'value', min: 0, max: steps, interval: steps / 4 }),
    yAxis: axis(title, { type: 'value', scale: true, nameGap: 42 }),
    series: contenders.flatMap((contender) =>
      drawBand(
        contender.name,
        overSteps(runsOf(study, contender), (run, look) => tell(study, run, look)),
        colourOf(contender, contenders),
      ),
    ),
  });
}

/** What has become of a log-probability, or of the margin, by how far the policy has gone from the reference. */
function drawPlane(
  name: string,
  study: Study,
  side: Side | 'margin',
  width: number,
  pointsOf: (contender: Contender) => [kl: number, change: number][],
  kl: object,
): string {
  const { contenders } = study.plan;
  return draw(`${side}-by-kl-${name}`, width, 300, {
    ...legend(contenders.map(({ name }) => name)),
    grid: { left: 58, right: 20, top: 34, bottom: 44 },
    xAxis: axis('KL to the reference, nats a response', { nameGap: 28, ...kl }),
    yAxis: axis(side === 'margin' ? 'chosen less rejected, nats' : `${side}, change in nats`, {
      type: 'value',
      scale: true,
      nameGap: 42,
    }),
    series: contenders.map((contender) => ({
      type: 'line',
      name: contender.name,
      data: pointsOf(contender),
      symbol: 'circle',
      symbolSize: (_: unknown, { dataIndex }: { dataIndex: number }) => 5 + 2 * dataIndex,
      lineStyle: { color: colourOf(contender, contenders), width: 1.5 },
      itemStyle: { color: colourOf(contender, contenders) },
    })),
  });
}

/** The way of each objective through its training, look by look, the mean over its seeds. */
export function drawWays(study: Study, side: Side | 'margin', width: number): string {
  const told = (run: Run, look: Look) =>
    side === 'margin' ? changeOf(run, look, 'chosen') - changeOf(run, look, 'rejected') : changeOf(run, look, side);
  const pointsOf = (contender: Contender): [number, number][] => {
    const runs = runsOf(study, contender);
    const kls = overSteps(runs, (_, look) => look.divergence?.kl ?? 0);
    return overSteps(runs, told).map(({ y }, at) => [kls[at]!.y.mean, y.mean]);
  };
  return drawPlane('through-training', study, side, width, pointsOf, { type: 'value', min: 0 });
}

/** Where each objective ends at each learning rate. */
export function drawRates(study: Study, side: Side | 'margin', width: number): string {
  const { contenders, learningRate, otherRates } = study.plan;
  const rates = [learningRate, ...otherRates].sort((a, b) => a - b);
  const first = firstSeedOf(study);
  const pointsOf = (contender: Contender) =>
    rates.flatMap((rate): [number, number][] => {
      const outcome = outcomeOf(first, contender, rate);
      return outcome ? [[outcome.kl.mean, outcome[side].mean]] : [];
    });
  const kls = contenders.flatMap((contender) => pointsOf(contender).map(([kl]) => kl));
  const min = 2 ** Math.floor(Math.log2(Math.min(...kls)));
  return drawPlane('at-each-learning-rate', study, side, width, pointsOf, { type: 'log', logBase: 2, min });
}
