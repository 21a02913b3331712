// The evidence of a canary over its votes: up, that the candidate is better; down, that it is worse. The first of the two to
// cross its line decides, however often one looks (e-processes: Ramdas et al., arXiv 2210.01948).

import type { EChartsCoreOption } from 'echarts/core';
import { useMemo } from 'preact/hooks';
import type { Canary } from '../../api.ts';
import type { paths } from '../../api-types.ts';
import { formatCount, formatNumber } from '../format.ts';
import { Chart } from '../parts/chart.tsx';
import type { Palette } from '../parts/palette.ts';
import { axis, markLine, tooltip } from '../parts/plot-style.ts';
import { placeCounts } from '../parts/ticks.ts';

export type Evidence = paths['/v1/canaries/{id}/evidence']['get']['responses'][200]['content']['application/json'];

/** What is less is drawn at the edge: evidence of the other side takes it far down. The table has it. */
const LEAST = -2;

export function EProcess({ evidence, canary }: { evidence: Evidence; canary: Canary }) {
  const key = `${evidence.canary} ${canary.state} ${evidence.data.length} ${evidence.data.at(-1)?.votes}`;
  const { option, numbers } = useMemo(
    () => ({
      option: (palette: Palette) => toOption(palette, evidence, canary),
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
type Point = Evidence['data'][number];

const SIDES: Side[] = [
  { index: 0, field: 'better', tone: 'good', name: 'E₊, it is better', mark: 'promoted' },
  { index: 1, field: 'worse', tone: 'bad', name: 'E₋, it is worse', mark: 'rolled back' },
];

/** The vote that decided: those after it may take the evidence back again. Undefined: something else decided, or nothing. */
function findDecisive({ data, threshold }: Evidence, field: Side['field'], canary: Canary): Point | undefined {
  const { state, promoted_at, ended_at } = canary;
  const decided = field === 'better' ? promoted_at : state === 'rolled_back' ? ended_at : null;
  return data.find((point) => point[field] >= threshold && decided !== null && point.at <= decided);
}

function toOption(palette: Palette, evidence: Evidence, canary: Canary): EChartsCoreOption {
  const { data, threshold } = evidence;
  const top = Math.max(threshold + 0.4, ...data.flatMap(({ better, worse }) => [better, worse]));
  // A label for every decade, while they fit.
  const step = top > 5 ? 2 * Math.ceil((top - LEAST) / 12) : 1;
  const last = Math.max(10, data.at(-1)?.votes ?? 0);
  const sides = SIDES.map((side) => ({ ...side, decisive: findDecisive(evidence, side.field, canary) }));
  const format = (value: number) => formatNumber(10 ** value);
  return {
    axisPointer: { link: [{ xAxisIndex: 'all' }] },
    tooltip: {
      ...tooltip(palette),
      trigger: 'axis',
      valueFormatter: (value: unknown) => (typeof value === 'number' ? format(value) : '–'),
    },
    grid: [
      { left: 44, right: 16, top: 24, height: 112 },
      { left: 44, right: 16, top: 168, height: 112 },
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
    yAxis: sides.map(({ index, name, tone, mark, field, decisive }) => ({
      ...axis(palette),
      type: 'value',
      gridIndex: index,
      inverse: index === 1,
      // Above each plot, where no line runs through it.
      name: `${name}: ${mark} at ${format(threshold)}${decisive ? ` (vote ${formatCount(decisive.votes)}: ${format(decisive[field])})` : ''}`,
      nameLocation: index === 1 ? 'start' : 'end',
      nameGap: 10,
      nameTextStyle: { color: palette[tone], fontSize: 12, align: 'left', padding: [0, 0, 0, -40] },
      min: LEAST,
      max: LEAST + step * Math.ceil((top - LEAST) / step),
      interval: step,
      axisLabel: {
        color: palette.quiet,
        fontSize: 11,
        formatter: (value: number) => (value === LEAST ? '' : format(value)),
      },
    })),
    series: sides.map(({ index, field, tone, name, decisive }) => ({
      name,
      type: 'line',
      xAxisIndex: index,
      yAxisIndex: index,
      showSymbol: true,
      symbol: 'circle',
      color: palette[tone],
      lineStyle: { width: 2 },
      emphasis: { disabled: true },
      data: [
        { value: [0, 0], symbolSize: 0 },
        ...data.map((point) => ({
          value: [point.votes, Math.max(LEAST, point[field])],
          symbolSize: point === decisive ? 9 : data.length === 1 ? 4 : 0,
        })),
      ],
      markLine: markLine(palette, [{ at: threshold, label: '', tone }]),
    })),
  };
}
