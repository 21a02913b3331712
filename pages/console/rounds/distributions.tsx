// Log-probabilities of chosen and rejected held-out responses, before and after the round: the two should part, and the
// chosen ones should not sink (DIL, arXiv 2503.05079, figure 1).

import type { EChartsCoreOption } from 'echarts/core';
import { useMemo } from 'preact/hooks';
import { formatNumber } from '../format.ts';
import { Chart } from '../parts/chart.tsx';
import { Panel } from '../parts/page.tsx';
import type { Palette } from '../parts/palette.ts';
import { axis, toLegend, tooltip } from '../parts/plot-style.ts';
import type { StepMetrics } from './training-plots.tsx';

const BINS = 20;

export function Distributions({ steps }: { steps: StepMetrics[] }) {
  const measured = steps.filter(({ logps, split }) => logps && split === 'held_out');
  const before = measured[0]?.logps;
  const after = measured.at(-1)?.logps;
  if (!before || !after || measured.length < 2) return null;
  const all = [...before.chosen, ...before.rejected, ...after.chosen, ...after.rejected];
  return (
    <div class="columns">
      <Distribution name="Chosen responses" colour="good" before={before.chosen} after={after.chosen} all={all} />
      <Distribution name="Rejected responses" colour="3" before={before.rejected} after={after.rejected} all={all} />
    </div>
  );
}

type DistributionProps = { name: string; colour: 'good' | '3'; before: number[]; after: number[]; all: number[] };

function Distribution({ name, colour, before, after, all }: DistributionProps) {
  const key = JSON.stringify([before, after, all.length]);
  const { option, numbers } = useMemo(() => {
    const min = Math.min(...all);
    const width = (Math.max(...all) - min) / BINS || 1;
    const middles = Array.from({ length: BINS }, (_, bin) => min + (bin + 0.5) * width);
    const counts = [before, after].map((values) => countBins(values, min, width));
    return {
      numbers: {
        columns: ['log-probability per token', 'before', 'after'],
        rows: middles.map((middle, bin) => [Number(middle.toFixed(4)), counts[0]![bin]!, counts[1]![bin]!]),
      },
      option: (palette: Palette) => toOption(palette, colour, middles, counts),
    };
  }, [key]);
  const moved = mean(after) - mean(before);
  return (
    <Panel
      title={name}
      hint={`mean ${formatNumber(mean(before))} before, ${formatNumber(mean(after))} after (${moved < 0 ? '−' : '+'}${formatNumber(Math.abs(moved))})`}
    >
      <Chart name={`Log-probabilities of ${name.toLowerCase()}`} option={option} numbers={numbers} />
    </Panel>
  );
}

function toOption(palette: Palette, colour: 'good' | '3', middles: number[], counts: number[][]): EChartsCoreOption {
  const after = colour === 'good' ? palette.good : palette.series[2]!;
  const series = (name: string, color: string, data: number[], isDashed: boolean) => ({
    name,
    type: 'line',
    step: 'middle',
    showSymbol: false,
    color,
    data: data.map((count, bin) => [middles[bin], count]),
    lineStyle: { width: 1.5, type: isDashed ? 'dashed' : 'solid' },
    areaStyle: { opacity: isDashed ? 0.06 : 0.18 },
    emphasis: { disabled: true },
  });
  return {
    legend: toLegend(palette),
    grid: { left: 4, right: 16, top: 32, bottom: 20, containLabel: true },
    tooltip: { trigger: 'axis', ...tooltip(palette) },
    xAxis: {
      ...axis(palette),
      type: 'value',
      name: 'log-probability per token, nats',
      nameLocation: 'middle',
      nameGap: 24,
      min: 'dataMin',
      max: 'dataMax',
      axisLabel: { color: palette.quiet, fontSize: 11, hideOverlap: true, formatter: (at: number) => at.toFixed(1) },
      axisPointer: { label: { formatter: ({ value }: { value: number }) => formatNumber(value) } },
      splitLine: { show: false },
    },
    yAxis: { ...axis(palette), type: 'value', minInterval: 1, splitNumber: 4 },
    series: [series('Before', palette.series[4]!, counts[0]!, true), series('After', after, counts[1]!, false)],
  };
}

function countBins(values: number[], min: number, width: number): number[] {
  const counts = Array.from({ length: BINS }, () => 0);
  for (const value of values) counts[Math.min(BINS - 1, Math.floor((value - min) / width))]! += 1;
  return counts;
}

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
