// The plots of the demo report, as SVG.

import {
  axis,
  COLOURS,
  GREY,
  guideLines,
  legend,
  lineShape,
  type RenderApi,
  renderSvg,
  stepAxis,
} from '../report/chart.ts';
import type { Logps } from '../report/logp-densities.ts';
import { boxQuantiles, mean } from '../report/statistics.ts';
import type { CanaryResult } from './judge-canary.ts';
import { type DemoResult, getHeldOutLogps } from './result.ts';

const POLICY_COLOURS = ['#8a94a3', '#8fb4f0', '#3d5bd1', '#23307f', '#12807a', '#d4682b'];

/** Each published policy's win rate against the reference, with its 95% interval. */
export function drawWinRates(result: DemoResult): string {
  const names = [
    'reference',
    ...result.rounds.map(({ publication, canary }, at) => {
      const none = canary?.state === 'rolled_back' ? ' (rolled back)' : ' (none published)';
      return `after round ${at + 1}${publication ? '' : none}`;
    }),
  ];
  const points = result.rounds.flatMap(({ publication }, at) =>
    publication ? [{ at: at + 1, winRate: publication.winRate }] : [],
  );
  const lowest = Math.min(0.5, ...points.map(({ winRate }) => winRate.low));
  const floor = Math.floor(100 * lowest - 5) / 100;
  return renderSvg('win-rates', 1000, 320, {
    grid: { left: 64, right: 24, top: 24, bottom: 36 },
    xAxis: axis('', { type: 'category', data: names, axisLine: { show: true, lineStyle: { color: COLOURS.faint } } }),
    yAxis: axis('win rate against the reference', {
      type: 'value',
      min: Math.floor(floor * 10) / 10,
      max: 1,
      nameGap: 46,
      axisLabel: { color: GREY, fontSize: 12, formatter: (value: number) => `${Math.round(100 * value)}%` },
    }),
    series: [
      {
        type: 'custom',
        data: points.map(({ at, winRate }) => [at, winRate.low, winRate.high]),
        renderItem: drawErrorBar,
        z: 2,
      },
      {
        type: 'line',
        data: [[0, 0.5], ...points.map(({ at, winRate }) => [at, winRate.rate])],
        symbol: 'circle',
        symbolSize: 11,
        lineStyle: { color: COLOURS.policy, width: 2 },
        itemStyle: { color: COLOURS.policy },
        label: {
          show: true,
          position: 'right',
          distance: 10,
          offset: [0, 16],
          fontSize: 14,
          fontWeight: 600,
          color: COLOURS.ink,
          textBorderWidth: 0,
          formatter: ({ value }: { value: [number, number] }) =>
            value[0] === 0 ? '' : `${(100 * value[1]).toFixed(1)}%`,
        },
        markLine: {
          symbol: 'none',
          silent: true,
          lineStyle: { color: GREY, type: 'dashed' },
          label: { formatter: 'reference', position: 'insideStartBottom', color: GREY },
          data: [{ yAxis: 0.5 }],
        },
        z: 3,
      },
    ],
  });
}

function drawErrorBar(_: unknown, api: RenderApi) {
  const [x, top] = api.coord([api.value(0), api.value(2)]);
  const [, bottom] = api.coord([api.value(0), api.value(1)]);
  const style = { stroke: COLOURS.policy, lineWidth: 2, opacity: 0.7 };
  return {
    type: 'group',
    children: [
      lineShape([x, top], [x, bottom], style),
      lineShape([x - 8, top], [x + 8, top], style),
      lineShape([x - 8, bottom], [x + 8, bottom], style),
    ],
  };
}

/** Held-out log-probabilities before and after every round. */
export function drawLogpBoxes(result: DemoResult): string {
  const boxes = result.rounds.flatMap((round, at): [string, Logps][] => {
    const heldOutLogps = getHeldOutLogps(round);
    if (!heldOutLogps) return [];
    return [
      [`round ${at + 1}\nbefore`, heldOutLogps.before],
      [`round ${at + 1}\nafter`, heldOutLogps.after],
    ];
  });
  const series = (name: 'chosen' | 'rejected') => ({
    type: 'boxplot',
    name,
    data: boxes.map(([, logps]) => boxQuantiles(logps[name])),
    itemStyle: { color: `${COLOURS[name]}22`, borderColor: COLOURS[name], borderWidth: 1.5 },
    boxWidth: [14, 34],
  });
  return renderSvg('boxes', 1000, 320, {
    ...legend(['chosen', 'rejected']),
    grid: { left: 64, right: 24, top: 32, bottom: 48 },
    xAxis: axis('', { type: 'category', data: boxes.map(([name]) => name) }),
    yAxis: axis('log-probability per token', { type: 'value', scale: true, nameGap: 44 }),
    series: [series('chosen'), series('rejected')],
  });
}

type Curve = { name: string; metric: string; colour: string };

/** Metrics by training step, rounds concatenated with a dotted line between them. */
export function drawTrainingCurves(result: DemoResult, label: string, curves: Curve[], width: number): string {
  let offset = 0;
  const begins: number[] = [];
  const steps = result.rounds.flatMap(({ checkpoints }) => {
    const train = checkpoints.filter(({ split }) => split === 'train');
    begins.push(offset);
    const placed = train.map(({ step_number, metrics }) => ({ x: offset + step_number, metrics }));
    offset += train.length;
    return placed;
  });
  return renderSvg(label.replace(/\W+/g, '-'), width, 260, {
    ...(curves.length > 1 ? legend(curves.map(({ name }) => name)) : {}),
    title: { text: label, left: 8, top: 0, textStyle: { fontSize: 13, fontWeight: 600, color: COLOURS.ink } },
    grid: { left: 52, right: 16, top: 36, bottom: 44 },
    xAxis: axis('step', stepAxis(offset)),
    yAxis: axis('', { type: 'value', scale: true }),
    series: curves.flatMap(({ name, metric, colour }, at) => {
      const points = steps.flatMap(({ x, metrics }) => (metrics[metric] === undefined ? [] : [[x, metrics[metric]]]));
      const line = { type: 'line', showSymbol: false, itemStyle: { color: colour } };
      return [
        { ...line, data: points, lineStyle: { color: colour, width: 1, opacity: 0.3 }, silent: true },
        {
          ...line,
          name,
          data: smoothPoints(points as [number, number][]),
          lineStyle: { color: colour, width: 2 },
          ...(at === 0
            ? {
                markLine: guideLines(
                  begins.slice(1).map((x) => ({ xAxis: x })),
                  'dotted',
                ),
              }
            : {}),
        },
      ];
    }),
  });
}

/** Moving average over each point and up to four before it. */
function smoothPoints(points: [number, number][]): [number, number][] {
  return points.map(([x], at) => [x, mean(points.slice(Math.max(0, at - 4), at + 1).map(([, y]) => y))]);
}

/** The evidence after each vote on a canary, for and against it, up to the one that decided. */
export function drawEvidence({ points, threshold }: CanaryResult, name: string, width: number): string {
  const decisive = points.findIndex(({ better, worse }) => Math.max(better, worse) >= threshold);
  const shown = decisive < 0 ? points : points.slice(0, decisive + 1);
  const line = (label: string, side: 'better' | 'worse', color: string) => ({
    type: 'line',
    name: label,
    showSymbol: false,
    data: [[0, 0], ...shown.map((point) => [point.votes, point[side]])],
    itemStyle: { color },
    lineStyle: { color, width: 2 },
  });
  return renderSvg(`evidence-${name}`, width, 260, {
    ...legend(['E+, better', 'E−, worse']),
    title: { text: name.replaceAll('-', ' '), left: 8, top: 0, textStyle: { fontSize: 13, color: COLOURS.ink } },
    grid: { left: 60, right: 24, top: 36, bottom: 44 },
    xAxis: axis('votes for a side', { ...stepAxis(Math.max(10, shown.length)), splitNumber: 4 }),
    yAxis: axis('evidence', {
      type: 'value',
      nameGap: 44,
      max: ({ max }: { max: number }) => Math.max(1.5, max),
      axisLabel: {
        color: GREY,
        fontSize: 12,
        formatter: (log10: number) => String(Number((10 ** log10).toPrecision(1))),
      },
    }),
    series: [
      {
        ...line('E+, better', 'better', COLOURS.chosen),
        markLine: {
          symbol: 'none',
          silent: true,
          lineStyle: { color: GREY, type: 'dashed' },
          label: { formatter: '20 decides', position: 'insideStartTop', color: GREY },
          data: [{ yAxis: threshold }],
        },
      },
      line('E−, worse', 'worse', COLOURS.rejected),
    ],
  });
}

/** Latency of every probe while rounds trained and swapped, coloured by the policy of the response. */
export function drawProbes(result: DemoResult): string {
  const published = result.rounds.flatMap(({ publication }) => publication?.policy ?? []);
  const policies = [result.initialPolicy, ...published];
  const names = ['initial policy', ...published.map((_, at) => `policy ${at + 1}`)];
  let offset = 0;
  const responses = result.rounds.flatMap(({ probe }) => {
    const placed = probe.responses.map(({ at, seconds, policy }) => ({ x: offset + at, seconds, policy }));
    offset = (placed.at(-1)?.x ?? offset) + 1;
    return placed;
  });
  return renderSvg('probe-latency', 1000, 240, {
    ...legend(names),
    grid: { left: 64, right: 24, top: 32, bottom: 44 },
    xAxis: axis('seconds of training, rounds concatenated', stepAxis(offset)),
    yAxis: axis('latency, s', { type: 'value', min: 0, nameGap: 44 }),
    series: policies.map((policy, at) => ({
      type: 'scatter',
      name: names[at],
      symbolSize: 5,
      itemStyle: { color: POLICY_COLOURS[at % POLICY_COLOURS.length], opacity: 0.9 },
      data: responses.filter((response) => response.policy === policy).map(({ x, seconds }) => [x, seconds]),
    })),
  });
}
