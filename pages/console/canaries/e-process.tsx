// The evidence of a canary over its votes: up, that the candidate is better; down, that it is worse. The first of the two to
// cross its line decides, however often one looks (e-processes: Ramdas et al., arXiv 2210.01948).

import type { EChartsCoreOption } from 'echarts/core';
import { useMemo } from 'preact/hooks';
import type { paths } from '../../api-types.ts';
import { formatNumber } from '../format.ts';
import { Chart } from '../parts/chart.tsx';
import type { Palette } from '../parts/palette.ts';
import { axis, markLine, toLegend, tooltip } from '../parts/plot-style.ts';
import { placeCounts } from '../parts/ticks.ts';

export type Evidence = paths['/v1/canaries/{id}/evidence']['get']['responses'][200]['content']['application/json'];

/** What is less is drawn at the edge: evidence of the other side takes it far down. The table has it. */
const LEAST = -2;

export function EProcess({ evidence }: { evidence: Evidence }) {
  const key = `${evidence.canary} ${evidence.data.length} ${evidence.data.at(-1)?.votes}`;
  const { option, numbers } = useMemo(
    () => ({
      option: (palette: Palette) => toOption(palette, evidence),
      numbers: {
        columns: ['votes', 'time', 'wins', 'losses', 'E better', 'E worse'],
        rows: evidence.data.map(({ votes, at, wins, losses, better, worse }) => [
          votes,
          new Date(at * 1000).toISOString(),
          wins,
          losses,
          formatNumber(10 ** better),
          formatNumber(10 ** worse),
        ]),
      },
    }),
    [key],
  );
  return <Chart name="Evidence over votes" option={option} numbers={numbers} height={320} />;
}

type Side = { index: 0 | 1; field: 'better' | 'worse'; tone: 'good' | 'bad'; name: string; mark: string };

const SIDES: Side[] = [
  { index: 0, field: 'better', tone: 'good', name: 'E₊, it is better', mark: 'promoted' },
  { index: 1, field: 'worse', tone: 'bad', name: 'E₋, it is worse', mark: 'rolled back' },
];

function toOption(palette: Palette, { data, threshold }: Evidence): EChartsCoreOption {
  const top = Math.max(threshold + 0.4, ...data.flatMap(({ better, worse }) => [better, worse]));
  const last = Math.max(10, data.at(-1)?.votes ?? 0);
  const format = (value: number) => formatNumber(10 ** value);
  return {
    legend: toLegend(palette),
    axisPointer: { link: [{ xAxisIndex: 'all' }] },
    tooltip: {
      ...tooltip(palette),
      trigger: 'axis',
      valueFormatter: (value: unknown) => (typeof value === 'number' ? format(value) : '–'),
    },
    grid: [
      { left: 44, right: 16, top: 32, height: 116 },
      { left: 44, right: 16, top: 162, height: 116 },
    ],
    xAxis: SIDES.map(({ index }) => ({
      ...axis(palette),
      type: 'value',
      gridIndex: index,
      min: 0,
      max: last,
      position: 'bottom',
      axisLine: { show: true, onZero: false, lineStyle: { color: palette.line } },
      axisLabel: { ...axis(palette).axisLabel, show: index === 1, customValues: placeCounts(0, last) },
      splitLine: { show: false },
      name: index === 1 ? 'votes' : undefined,
      nameLocation: 'middle',
      nameGap: 24,
      nameTextStyle: { color: palette.quiet, fontSize: 11 },
    })),
    yAxis: SIDES.map(({ index }) => ({
      ...axis(palette),
      type: 'value',
      gridIndex: index,
      inverse: index === 1,
      min: LEAST,
      max: Math.ceil(top),
      interval: 1,
      axisLabel: {
        color: palette.quiet,
        fontSize: 11,
        formatter: (value: number) => (value === LEAST ? '' : format(value)),
      },
    })),
    series: SIDES.map(({ index, field, tone, name, mark }) => ({
      name,
      type: 'line',
      xAxisIndex: index,
      yAxisIndex: index,
      showSymbol: data.length === 1,
      color: palette[tone],
      lineStyle: { width: 2 },
      emphasis: { disabled: true },
      data: [[0, 0], ...data.map((point) => [point.votes, Math.max(LEAST, point[field])])],
      markLine: markLine(palette, [{ at: threshold, label: `${format(threshold)}: ${mark}`, tone }]),
    })),
  };
}
