// Plots with one panel per method on common axes: chosen and rejected log-probability during training.
import {
  axis,
  COLOURS,
  GREY,
  guideLines,
  legend,
  lineShape,
  type Option,
  type RenderApi,
  renderSvg,
} from '../report/chart.ts';
import { boxQuantiles } from '../report/statistics.ts';
import { bandSeries, type GridPosition, pointsByStep } from './band.ts';
import { findRuns, logpChange, type Side } from './metrics.ts';
import type { PreferenceStudy } from './preference-study.ts';
import type { TrainingRun } from './training-run.ts';

const SIDES = ['chosen', 'rejected'] as const;

/** One panel per method; only the first has axis labels. */
function drawPanels(
  name: string,
  study: PreferenceStudy,
  height: number,
  yName: string,
  { min, max, interval }: Range,
  series: (runs: TrainingRun[], place: Required<GridPosition>) => object[],
): string {
  const { methods } = study.config;
  const left = 62;
  const width = (1000 - left - 12) / methods.length;
  const steps = study.runs[0]!.evaluations.at(-1)!.step;
  const option: Option = {
    ...legend([...SIDES]),
    title: methods.map(({ name }, at) => ({
      text: name,
      left: left + at * width + width / 2 - 8,
      top: 26,
      textAlign: 'center',
      textStyle: { fontSize: 13, fontWeight: 600, color: COLOURS.ink },
    })),
    grid: methods.map((_, at) => ({ left: left + at * width, width: width - 16, top: 52, bottom: 44 })),
    xAxis: methods.map((_, grid) => ({
      ...axis('step', { type: 'value', gridIndex: grid, min: 0, max: 1.1 * steps, nameGap: 26 }),
      axisLabel: { color: GREY, fontSize: 12, customValues: [0, steps / 2, steps] },
      splitLine: { show: false },
    })),
    yAxis: methods.map((_, grid) => ({
      ...axis(grid === 0 ? yName : '', { type: 'value', gridIndex: grid, min, max, interval, nameGap: 42 }),
      ...(grid === 0 ? {} : { axisLabel: { show: false } }),
    })),
    series: methods.flatMap((method, grid) => series(findRuns(study, method), { grid })),
  };
  return renderSvg(name, 1000, height, option);
}

const zeroLine = (grid: number) => ({
  type: 'line',
  xAxisIndex: grid,
  yAxisIndex: grid,
  data: [],
  markLine: guideLines([{ yAxis: 0 }], 'solid'),
});

/** Mean change of the log-probability of held-out responses. */
export function drawLogpChanges(study: PreferenceStudy): string {
  const changes = study.config.methods.flatMap((method) =>
    SIDES.map((side) => pointsByStep(findRuns(study, method), (run, evaluation) => logpChange(run, evaluation, side))),
  );
  return drawPanels(
    'log-probability-changes-by-step',
    study,
    320,
    'change, nats/response',
    niceRange(changes.flat().flatMap(({ y }) => [y.low, y.high])),
    (runs, place) => [
      zeroLine(place.grid),
      ...SIDES.flatMap((side) =>
        bandSeries(
          side,
          pointsByStep(runs, (run, evaluation) => logpChange(run, evaluation, side)),
          COLOURS[side],
          place,
        ),
      ),
    ],
  );
}

/** Distribution of the change over responses: 5%, quartiles and 95% at every evaluation, over all seeds. */
export function drawLogpChangeBoxes(study: PreferenceStudy): string {
  const changes = (runs: TrainingRun[], at: number, side: Side) =>
    runs.flatMap(({ evaluations }) => evaluations[at]![side].map((logp, i) => logp - evaluations[0]![side][i]!));
  const boxes = (runs: TrainingRun[], side: Side) =>
    runs[0]!.evaluations.flatMap(({ step }, at) =>
      at === 0 ? [] : [{ step, box: boxQuantiles(changes(runs, at, side)) }],
    );
  const all = study.config.methods.flatMap((method) =>
    SIDES.flatMap((side) => boxes(findRuns(study, method), side).flatMap(({ box }) => box)),
  );
  const steps = study.runs[0]!.evaluations.at(-1)!.step;
  return drawPanels(
    'spread-of-changes-by-step',
    study,
    320,
    'change, nats/response',
    niceRange(all),
    (runs, { grid }) => [
      zeroLine(grid),
      ...SIDES.map((side, at) => ({
        type: 'custom',
        name: side,
        xAxisIndex: grid,
        yAxisIndex: grid,
        itemStyle: { color: COLOURS[side] },
        data: boxes(runs, side).map(({ step, box }) => [step + (at === 0 ? -1 : 1) * steps * 0.035, ...box]),
        renderItem: drawBox(COLOURS[side]),
        z: 3,
      })),
    ],
  );
}

/** Data: [x, 5%, 25%, 50%, 75%, 95%]. */
const drawBox = (colour: string) => (_: unknown, api: RenderApi) => {
  const y = (dimension: number) => api.coord([api.value(0), api.value(dimension)])[1];
  const [x] = api.coord([api.value(0), 0]);
  return {
    type: 'group',
    children: [
      lineShape([x, y(1)], [x, y(5)], { stroke: colour, lineWidth: 1 }),
      {
        type: 'rect',
        shape: { x: x - 4, y: y(4), width: 8, height: y(2) - y(4) },
        style: { fill: '#fff', stroke: colour, lineWidth: 1.5 },
      },
      lineShape([x - 4, y(3)], [x + 4, y(3)], { stroke: colour, lineWidth: 2.5 }),
    ],
  };
};

type Range = { min: number; max: number; interval: number };

/** An axis with about five round ticks that includes all values and zero. */
function niceRange(values: number[]): Range {
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const interval = power * [1, 2, 5, 10].find((times) => times * power >= rough)!;
  return { min: Math.floor(low / interval) * interval, max: Math.ceil(high / interval) * interval, interval };
}
