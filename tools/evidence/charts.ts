// Plots that compare the methods in one pair of axes.
import { axis, legend, renderSvg } from '../report/chart.ts';
import { bandSeries, methodColour, pointsByStep } from './band.ts';
import type { Method } from './config.ts';
import { accuracy, findRuns, getOutcome, logpChange, onlyFirstSeed, type Side, summarize } from './metrics.ts';
import type { PreferenceStudy } from './preference-study.ts';
import type { RaterStudy } from './rater-study.ts';
import type { Evaluation, TrainingRun } from './training-run.ts';

type CurveSpec = {
  name: string;
  title: string;
  metric: (study: PreferenceStudy, run: TrainingRun, evaluation: Evaluation) => number | null;
};

export const ACCURACY_CURVE: CurveSpec = {
  name: 'held-out-accuracy-by-step',
  title: 'held-out accuracy',
  metric: (study, run, evaluation) => (evaluation.step === 0 ? 0.5 : accuracy(study, run, evaluation, 'mean')),
};
export const KL_CURVE: CurveSpec = {
  name: 'kl-to-the-reference-by-step',
  title: 'KL to the reference, nats/response',
  metric: (_, __, evaluation) => evaluation.kl?.kl ?? 0,
};

/** A metric of every method by step. */
export function drawCurve(study: PreferenceStudy, { name, title, metric }: CurveSpec, width: number): string {
  const { methods } = study.config;
  const steps = study.runs[0]!.evaluations.at(-1)!.step;
  return renderSvg(name, width, 290, {
    ...legend(methods.map((method) => method.name)),
    grid: { left: 58, right: 16, top: 34, bottom: 44 },
    xAxis: axis('step', { type: 'value', min: 0, max: steps, interval: steps / 4 }),
    yAxis: axis(title, { type: 'value', scale: true, nameGap: 42 }),
    series: methods.flatMap((method) =>
      bandSeries(
        method.name,
        pointsByStep(findRuns(study, method), (run, evaluation) => metric(study, run, evaluation)),
        methodColour(method, methods),
      ),
    ),
  });
}

/** Change of a log-probability, or of the margin, by KL to the reference. */
function drawLogpByKl(
  name: string,
  study: PreferenceStudy,
  side: Side | 'margin',
  width: number,
  pointsOf: (method: Method) => [kl: number, change: number][],
  kl: object,
): string {
  const { methods } = study.config;
  return renderSvg(`${side}-by-kl-${name}`, width, 300, {
    ...legend(methods.map(({ name }) => name)),
    grid: { left: 58, right: 20, top: 34, bottom: 44 },
    xAxis: axis('KL to the reference, nats/response', { nameGap: 28, ...kl }),
    yAxis: axis(side === 'margin' ? 'Δ margin, nats' : `Δ log-prob. of ${side}, nats`, {
      type: 'value',
      scale: true,
      nameGap: 42,
    }),
    series: methods.map((method) => ({
      type: 'line',
      name: method.name,
      data: pointsOf(method),
      symbol: 'circle',
      symbolSize: (_: unknown, { dataIndex }: { dataIndex: number }) => 5 + 2 * dataIndex,
      lineStyle: { color: methodColour(method, methods), width: 1.5 },
      itemStyle: { color: methodColour(method, methods) },
    })),
  });
}

/** Every method during training, one point per evaluation, mean over seeds. */
export function drawTrajectories(study: PreferenceStudy, side: Side | 'margin', width: number): string {
  const change = (run: TrainingRun, evaluation: Evaluation) =>
    side === 'margin'
      ? logpChange(run, evaluation, 'chosen') - logpChange(run, evaluation, 'rejected')
      : logpChange(run, evaluation, side);
  const pointsOf = (method: Method): [number, number][] => {
    const runs = findRuns(study, method);
    const kls = pointsByStep(runs, (_, evaluation) => evaluation.kl?.kl ?? 0);
    return pointsByStep(runs, change).map(({ y }, at) => [kls[at]!.y.mean, y.mean]);
  };
  return drawLogpByKl('through-training', study, side, width, pointsOf, { type: 'value', min: 0 });
}

/** Every method at the end of training, one point per learning rate. */
export function drawLearningRates(study: PreferenceStudy, side: Side | 'margin', width: number): string {
  const { methods, learningRate, otherLearningRates } = study.config;
  const rates = [learningRate, ...otherLearningRates].sort((a, b) => a - b);
  const first = onlyFirstSeed(study);
  const pointsOf = (method: Method) =>
    rates.flatMap((rate): [number, number][] => {
      const outcome = getOutcome(first, method, rate);
      return outcome ? [[outcome.kl.mean, outcome[side].mean]] : [];
    });
  const kls = methods.flatMap((method) => pointsOf(method).map(([kl]) => kl));
  const min = 2 ** Math.floor(Math.log2(Math.min(...kls)));
  return drawLogpByKl('at-each-learning-rate', study, side, width, pointsOf, { type: 'log', logBase: 2, min });
}

/** KL(chosen distribution ‖ policy) by step on a logarithmic scale. */
export function drawRaterStudy(
  name: string,
  study: RaterStudy,
  methods: Method[],
  [min, max]: [number, number],
): string {
  const { steps } = study.config;
  return renderSvg(name, 490, 330, {
    ...legend(methods.map((method) => method.name)),
    grid: { left: 62, right: 16, top: 34, bottom: 44 },
    xAxis: axis('step', { type: 'value', min: 0, max: steps, interval: steps / 5 }),
    yAxis: axis('KL(chosen ‖ policy), nats', { type: 'log', min, max, nameGap: 46 }),
    series: methods.flatMap((method) => {
      const runs = study.runs.filter((run) => run.method.name === method.name);
      const points = runs[0]!.evaluations.map(({ step }, at) => ({
        x: step,
        y: summarize(runs.map(({ evaluations }) => evaluations[at]!.forward)),
      }));
      return bandSeries(method.name, points, methodColour(method, study.config.methods));
    }),
  });
}
