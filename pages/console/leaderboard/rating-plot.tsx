// The ratings with their intervals, by both ways to count ties.

import type { EChartsCoreOption } from 'echarts/core';
import { useMemo } from 'preact/hooks';
import { Chart } from '../parts/chart.tsx';
import { Panel } from '../parts/page.tsx';
import type { Palette } from '../parts/palette.ts';
import { axis, toLegend } from '../parts/plot-style.ts';
import { formatPoints, type Leaderboard, namePolicy } from './words.ts';

const WAYS = [
  ['half', 'Ties are half a win'],
  ['dropped', 'Without ties'],
] as const;

export function RatingPlot({ board }: { board: Leaderboard }) {
  const { option, numbers } = useMemo(
    () => ({ option: (palette: Palette) => toOption(palette, board), numbers: toNumbers(board) }),
    [board],
  );
  return (
    <Panel title="Ratings">
      <Chart name="Ratings of the policies" option={option} numbers={numbers} height={240} />
    </Panel>
  );
}

function toNumbers(board: Leaderboard) {
  return {
    columns: ['policy', ...WAYS.flatMap(([, name]) => [name, `${name}, low`, `${name}, high`])],
    rows: board.policies.map(({ policy, ratings }) => [
      namePolicy(board, policy),
      ...WAYS.flatMap(([way]) => {
        const { rating, interval } = ratings[way];
        return [rating, interval?.low ?? null, interval?.high ?? null].map((value) =>
          value === null ? null : Math.round(value * 10) / 10,
        );
      }),
    ]),
  };
}

function toOption(palette: Palette, board: Leaderboard): EChartsCoreOption {
  const names = board.policies.map(({ policy }) => namePolicy(board, policy));
  return {
    legend: toLegend(palette),
    tooltip: { show: false },
    grid: { left: 4, right: 16, top: 32, bottom: 4, containLabel: true },
    xAxis: {
      ...axis(palette),
      type: 'value',
      scale: true,
      splitNumber: 4,
      axisLabel: { ...axis(palette).axisLabel, formatter: formatPoints },
    },
    yAxis: {
      ...axis(palette),
      type: 'category',
      inverse: true,
      data: names,
      axisLabel: { color: palette.text, fontSize: 12, width: 110, lineHeight: 15, overflow: 'break' },
    },
    series: WAYS.flatMap(([way, name], at) => {
      const color = palette.series[at]!;
      // Both ways of one policy are above each other.
      const shift = at === 0 ? -6 : 6;
      const points = board.policies.map(({ ratings }) => ratings[way]);
      return [
        {
          name,
          type: 'custom',
          color,
          silent: true,
          data: points.flatMap(({ interval }, row) => (interval ? [[interval.low, row, interval.high]] : [])),
          encode: { x: [0, 2], y: 1 },
          renderItem: (_: unknown, place: { value(at: number): number; coord(point: number[]): number[] }) => {
            const row = place.value(1);
            const [x1, y] = place.coord([place.value(0), row]) as [number, number];
            const [x2] = place.coord([place.value(2), row]) as [number];
            return {
              type: 'line',
              shape: { x1, y1: y + shift, x2, y2: y + shift },
              style: { stroke: color, lineWidth: 2.5, opacity: 0.55 },
            };
          },
        },
        {
          name,
          type: 'scatter',
          color,
          symbolSize: 8,
          symbolOffset: [0, shift],
          data: points.flatMap(({ rating }, row) => (rating === null ? [] : [[rating, row]])),
        },
      ];
    }),
  };
}
