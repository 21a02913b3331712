// A line for the mean over the seeds and a band from the least of them to the greatest.
import { type Spread, spreadOf } from './figures.ts';
import type { Contender } from './plan.ts';
import type { Look, Run } from './study.ts';

const COLOUR = { lsif: '#3d5bd1', ukl: '#12807a', bce: '#8a5bc7', dpo: '#d4682b', sft: '#667080' };
const OTHERS = ['#c2a21c', '#b3477d', '#4f9fd0'];

/** The same for an objective in all plots; a second and third of one objective take what is left. */
export function colourOf({ name }: Contender, all: Contender[]): string {
  const isFirst = ({ name, objective }: Contender) =>
    all.find((other) => other.objective.objective === objective.objective)?.name === name;
  const own = all.find((contender) => contender.name === name)!;
  if (isFirst(own)) return COLOUR[own.objective.objective as keyof typeof COLOUR];
  return OTHERS[all.filter((contender) => !isFirst(contender)).indexOf(own) % OTHERS.length]!;
}

export type Point = { x: number; y: Spread };
export type Place = { grid?: number };
export type CoordApi = { coord(point: [number, number]): [number, number] };

/** A line through the means and a band around it. */
export function drawBand(name: string, points: Point[], colour: string, { grid = 0 }: Place = {}) {
  const at = { xAxisIndex: grid, yAxisIndex: grid };
  const outline = [
    ...points.map(({ x, y }): [number, number] => [x, y.high]),
    ...[...points].reverse().map(({ x, y }): [number, number] => [x, y.low]),
  ];
  return [
    {
      ...at,
      type: 'custom',
      // Both ends, so that the axis holds them; the first of them draws all.
      data: [Math.min(...points.map(({ y }) => y.low)), Math.max(...points.map(({ y }) => y.high))].map((end) => [
        points[0]!.x,
        end,
      ]),
      silent: true,
      renderItem: ({ dataIndex }: { dataIndex: number }, api: CoordApi) =>
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

/** What is told of each look, over the runs of an objective. */
export function overSteps(runs: Run[], tell: (run: Run, look: Look) => number | null): Point[] {
  return runs[0]!.looks.flatMap(({ step }, at) => {
    const values = runs.map((run) => tell(run, run.looks[at]!));
    return values.every((value) => value !== null) ? [{ x: step, y: spreadOf(values) }] : [];
  });
}
