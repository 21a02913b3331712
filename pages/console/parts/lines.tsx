// Lines over one axis: steps, votes or time. What a plot of numbers needs, and no more.

import type { EChartsCoreOption } from 'echarts/core';
import { useMemo } from 'preact/hooks';
import { formatNumber } from '../format.ts';
import { Chart } from './chart.tsx';
import type { Numbers } from './download.ts';
import type { Palette } from './palette.ts';
import { axis, type Mark, markLine, measureLegend, toLegend, tooltip } from './plot-style.ts';
import { placeCounts, placeTimes } from './ticks.ts';

/** `colour`: 1 to 6, or what the line says. `null`: a gap. */
export type Series = {
  name: string;
  points: [x: number, y: number | null][];
  colour?: number | 'good' | 'bad' | 'warn';
  look?: 'line' | 'dashed' | 'dots' | 'step' | 'area';
};

type LinesProps = {
  name: string;
  series: Series[];
  /** what x is */
  x: { name: string; isTime?: boolean };
  y?: { name?: string; min?: number; max?: number; format?: (value: number) => string };
  /** horizontal lines */
  marks?: Mark[];
  height?: 240 | 320;
};

export function Lines({ name, series, x, y = {}, marks = [], height = 240 }: LinesProps) {
  const key = JSON.stringify([series, x, y, marks]);
  // `key` changes with what is drawn.
  const { option, numbers } = useMemo(
    () => ({
      option: (palette: Palette) => toOption(palette, { series, x, y, marks }),
      numbers: toNumbers(series, x),
    }),
    [key],
  );
  return <Chart name={name} option={option} numbers={numbers} height={height} />;
}

export function toNumbers(series: Series[], { name, isTime }: LinesProps['x']): Numbers {
  const rows = new Map<number, (number | null)[]>();
  for (const [at, { points }] of series.entries())
    for (const [x, y] of points) {
      const row = rows.get(x) ?? series.map(() => null);
      row[at] = y;
      rows.set(x, row);
    }
  const sorted = [...rows].sort(([a], [b]) => a - b);
  return {
    columns: [name, ...series.map((one) => one.name)],
    rows: sorted.map(([x, row]) => [isTime ? new Date(x * 1000).toISOString() : x, ...row]),
  };
}

type Drawn = Required<Pick<LinesProps, 'series' | 'x' | 'y' | 'marks'>>;

function toOption(palette: Palette, { series, x, y, marks }: Drawn): EChartsCoreOption {
  const format = y.format ?? formatNumber;
  // Of nothing but zeros ECharts makes an axis of fractions.
  const isFlat = y.min === 0 && series.every(({ points }) => points.every(([, value]) => !value));
  return {
    legend: toLegend(palette, series.length > 1),
    grid: {
      left: 4,
      right: 16,
      top: series.length > 1 ? measureLegend(series.map(({ name }) => name)) : 12,
      bottom: x.isTime ? 4 : 20,
      containLabel: true,
    },
    xAxis: {
      ...axis(palette),
      type: x.isTime ? 'time' : 'value',
      name: x.isTime ? undefined : x.name,
      nameLocation: 'middle',
      nameGap: 24,
      min: 'dataMin',
      max: 'dataMax',
      splitLine: { show: false },
      axisLabel: { ...axis(palette).axisLabel, ...placeLabels(series, x.isTime) },
    },
    yAxis: {
      ...axis(palette),
      type: 'value',
      scale: true,
      min: y.min,
      max: isFlat ? 1 : y.max,
      splitNumber: 4,
      interval: isFlat ? 1 : y.min === 0 && y.max === 1 ? 0.25 : undefined,
      axisLabel: { color: palette.quiet, fontSize: 11, formatter: (value: number) => format(value) },
    },
    tooltip: { trigger: 'axis', ...tooltip(palette), valueFormatter: (value: unknown) => formatValue(value, format) },
    series: series.map((one, at) => toSeries(palette, one, at, x.isTime, at === 0 ? marks : [])),
  };
}

/** Of times: `12:40` within two days, else `30 Nov`. */
function placeLabels(series: Series[], isTime = false) {
  const xs = series.flatMap(({ points }) => points.map(([x]) => x));
  if (xs.length === 0) return {};
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  if (!isTime) return { customValues: placeCounts(low, high) };
  const isShort = high - low < 2 * 86_400;
  const format = new Intl.DateTimeFormat(
    'en-GB',
    isShort ? { timeStyle: 'short' } : { day: 'numeric', month: 'short' },
  );
  return { customValues: placeTimes(low * 1000, high * 1000), formatter: (at: number) => format.format(at) };
}

function formatValue(value: unknown, format: (value: number) => string): string {
  return typeof value === 'number' ? format(value) : '–';
}

function isAlone(points: Series['points'], at: number): boolean {
  const isGap = (point: Series['points'][number] | undefined) => (point?.[1] ?? null) === null;
  return isGap(points[at - 1]) && isGap(points[at + 1]);
}

function toSeries(palette: Palette, one: Series, at: number, isTime: boolean | undefined, marks: Mark[]) {
  const { colour = at + 1, look = 'line' } = one;
  const color = typeof colour === 'number' ? palette.series[colour - 1]! : palette[colour];
  const isDots = look === 'dots';
  return {
    name: one.name,
    type: 'line',
    data: one.points.map(([x, y], at) => ({
      value: [isTime ? x * 1000 : x, y],
      // Between two gaps there is no line to see.
      symbolSize: isDots ? 7 : isAlone(one.points, at) ? 4 : 0,
    })),
    color,
    step: look === 'step' ? 'end' : undefined,
    showSymbol: true,
    symbol: 'circle',
    lineStyle: { width: isDots ? 1 : 1.75, type: look === 'dashed' ? 'dashed' : 'solid' },
    areaStyle: look === 'area' ? { opacity: 0.12 } : undefined,
    emphasis: { disabled: true },
    markLine: marks.length > 0 ? markLine(palette, marks) : undefined,
  };
}
