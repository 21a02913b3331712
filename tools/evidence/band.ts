// Mean over seeds as a line, with a band from minimum to maximum.
import type { RenderApi } from '../report/chart.ts';
import type { Method } from './config.ts';
import { type Summary, summarize } from './metrics.ts';
import type { Evaluation, TrainingRun } from './training-run.ts';

export const OBJECTIVE_COLOURS = {
  lsif: '#3d5bd1',
  ukl: '#12807a',
  bce: '#8a5bc7',
  dpo: '#d4682b',
  sft: '#667080',
  distill: '#b3477d',
};
const EXTRA_COLOURS = ['#c2a21c', '#b3477d', '#4f9fd0'];

/** One colour per objective in all plots; further methods with the same objective get the extra colours. */
export function methodColour({ name }: Method, all: Method[]): string {
  const isFirst = ({ name, objective }: Method) =>
    all.find((other) => other.objective.objective === objective.objective)?.name === name;
  const own = all.find((method) => method.name === name)!;
  if (isFirst(own)) return OBJECTIVE_COLOURS[own.objective.objective as keyof typeof OBJECTIVE_COLOURS];
  return EXTRA_COLOURS[all.filter((method) => !isFirst(method)).indexOf(own) % EXTRA_COLOURS.length]!;
}

export type Point = { x: number; y: Summary };
export type GridPosition = { grid?: number };

export function bandSeries(name: string, points: Point[], colour: string, { grid = 0 }: GridPosition = {}) {
  const at = { xAxisIndex: grid, yAxisIndex: grid };
  const outline = [
    ...points.map(({ x, y }): [number, number] => [x, y.high]),
    ...[...points].reverse().map(({ x, y }): [number, number] => [x, y.low]),
  ];
  return [
    {
      ...at,
      type: 'custom',
      // Minimum and maximum, so that the axis includes both; the first item draws the whole band.
      data: [Math.min(...points.map(({ y }) => y.low)), Math.max(...points.map(({ y }) => y.high))].map((end) => [
        points[0]!.x,
        end,
      ]),
      silent: true,
      renderItem: ({ dataIndex }: { dataIndex: number }, api: RenderApi) =>
        dataIndex === 0 && {
          type: 'polygon',
          shape: { points: outline.map((point) => api.coord(point)) },
          style: { fill: colour, opacity: 0.15 },
        },
      z: 1,
    },
    {
      ...at,
      type: 'line',
      name,
      data: points.map(({ x, y }) => [x, y.mean]),
      symbol: 'circle',
      symbolSize: 4,
      lineStyle: { color: colour, width: 2 },
      itemStyle: { color: colour },
      z: 3,
    },
  ];
}

/** A metric at every evaluation, summarized over runs of one method; evaluations without it are skipped. */
export function pointsByStep(
  runs: TrainingRun[],
  metric: (run: TrainingRun, evaluation: Evaluation) => number | null,
): Point[] {
  return runs[0]!.evaluations.flatMap(({ step }, at) => {
    const values = runs.map((run) => metric(run, run.evaluations[at]!));
    return values.every((value) => value !== null) ? [{ x: step, y: summarize(values) }] : [];
  });
}
