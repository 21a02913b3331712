// Plots with a panel for each objective, all on the same axes: chosen and rejected log-probability through training.
import { axis, COLOURS, draw, GREY, legend, type Option } from '../report/chart.ts';
import { boxOf } from '../report/statistics.ts';
import { type CoordApi, drawBand, overSteps, type Place } from './band.ts';
import type { Study } from './compare.ts';
import { changeOf, runsOf, type Side } from './figures.ts';
import type { Run } from './study.ts';

const SIDES = ['chosen', 'rejected'] as const;

/** One small plot for each objective, all with the same axes; the first one's are written out. */
function drawPanels(
  name: string,
  study: Study,
  height: number,
  yName: string,
  { min, max, interval }: Range,
  series: (runs: Run[], place: Required<Place>) => object[],
): string {
  const { contenders } = study.plan;
  const left = 62;
  const width = (1000 - left - 12) / contenders.length;
  const steps = study.runs[0]!.looks.at(-1)!.step;
  const option: Option = {
    ...legend([...SIDES]),
    title: contenders.map(({ name }, at) => ({
      text: name,
      left: left + at * width + width / 2 - 8,
      top: 26,
      textAlign: 'center',
      textStyle: { fontSize: 13, fontWeight: 600, color: COLOURS.ink },
    })),
    grid: contenders.map((_, at) => ({ left: left + at * width, width: width - 16, top: 52, bottom: 44 })),
    xAxis: contenders.map((_, grid) => ({
      ...axis('step', { type: 'value', gridIndex: grid, min: 0, max: 1.1 * steps, nameGap: 26 }),
      axisLabel: { color: GREY, fontSize: 12, customValues: [0, steps / 2, steps] },
      splitLine: { show: false },
    })),
    yAxis: contenders.map((_, grid) => ({
      ...axis(grid === 0 ? yName : '', { type: 'value', gridIndex: grid, min, max, interval, nameGap: 42 }),
      ...(grid === 0 ? {} : { axisLabel: { show: false } }),
    })),
    series: contenders.flatMap((contender, grid) => series(runsOf(study, contender), { grid })),
  };
  return draw(name, 1000, height, option);
}

const zeroLine = (grid: number) => ({
  type: 'line',
  xAxisIndex: grid,
  yAxisIndex: grid,
  data: [],
  markLine: {
    symbol: 'none',
    silent: true,
    label: { show: false },
    lineStyle: { color: '#9aa3b0', type: 'solid', width: 1 },
    data: [{ yAxis: 0 }],
  },
});

/** How the log-probabilities of held-out responses move on the average. */
export function drawCourses(study: Study): string {
  const courses = study.plan.contenders.flatMap((contender) =>
    SIDES.map((side) => overSteps(runsOf(study, contender), (run, look) => changeOf(run, look, side))),
  );
  return drawPanels(
    'courses',
    study,
    320,
    'change, nats a response',
    rangeOf(courses.flat().flatMap(({ y }) => [y.low, y.high])),
    (runs, place) => [
      zeroLine(place.grid),
      ...SIDES.flatMap((side) =>
        drawBand(
          side,
          overSteps(runs, (run, look) => changeOf(run, look, side)),
          COLOURS[side],
          place,
        ),
      ),
    ],
  );
}

/** The same, response by response: 5%, quartiles and 95% at every look, all seeds together. */
export function drawFans(study: Study): string {
  const changes = (runs: Run[], at: number, side: Side) =>
    runs.flatMap(({ looks }) => looks[at]![side].map((logp, i) => logp - looks[0]![side][i]!));
  const boxes = (runs: Run[], side: Side) =>
    runs[0]!.looks.flatMap(({ step }, at) => (at === 0 ? [] : [{ step, box: boxOf(changes(runs, at, side)) }]));
  const all = study.plan.contenders.flatMap((contender) =>
    SIDES.flatMap((side) => boxes(runsOf(study, contender), side).flatMap(({ box }) => box)),
  );
  const steps = study.runs[0]!.looks.at(-1)!.step;
  return drawPanels(
    'spread-of-changes-by-step',
    study,
    320,
    'change, nats a response',
    rangeOf(all),
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

type BoxApi = CoordApi & { value(dimension: number): number };

const drawBox = (colour: string) => (_: unknown, api: BoxApi) => {
  const y = (dimension: number) => api.coord([api.value(0), api.value(dimension)])[1];
  const [x] = api.coord([api.value(0), 0]);
  const line = (y1: number, y2: number, half: number, lineWidth: number) => ({
    type: 'line',
    shape: { x1: x - half, y1, x2: x + half, y2 },
    style: { stroke: colour, lineWidth },
  });
  return {
    type: 'group',
    children: [
      line(y(1), y(5), 0, 1),
      {
        type: 'rect',
        shape: { x: x - 4, y: y(4), width: 8, height: y(2) - y(4) },
        style: { fill: '#fff', stroke: colour, lineWidth: 1.5 },
      },
      line(y(3), y(3), 4, 2.5),
    ],
  };
};

type Range = { min: number; max: number; interval: number };

/** Round numbers around all values and zero, some five of them. */
function rangeOf(values: number[]): Range {
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const interval = power * [1, 2, 5, 10].find((times) => times * power >= rough)!;
  return { min: Math.floor(low / interval) * interval, max: Math.ceil(high / interval) * interval, interval };
}
