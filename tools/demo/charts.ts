// The report's plots: one function for each, from a story to SVG.

import { axis, COLOURS, draw, GREY, legend, wholeAxis } from '../report/chart.ts';
import { boxOf, density, mean } from '../report/statistics.ts';
import { heldOutOf, type Logps, type Published, type Story } from './story.ts';

const POLICY_COLOURS = ['#8a94a3', '#8fb4f0', '#3d5bd1', '#23307f', '#12807a', '#d4682b'];

/** Each published policy's win rate against the reference, with its 95% interval. */
export function drawWinRates(story: Story): string {
  const names = [
    'reference',
    ...story.chapters.map(({ published }, at) => `after round ${at + 1}${published ? '' : ' (none published)'}`),
  ];
  const points = story.chapters.flatMap(({ published }, at) =>
    published ? [{ at: at + 1, contest: published.contest }] : [],
  );
  const lowest = Math.min(0.5, ...points.map(({ contest }) => contest.low));
  const floor = Math.floor(100 * lowest - 5) / 100;
  return draw('win-rates', 1000, 320, {
    grid: { left: 64, right: 24, top: 24, bottom: 36 },
    xAxis: axis('', { type: 'category', data: names, axisLine: { show: true, lineStyle: { color: COLOURS.faint } } }),
    yAxis: axis('wins against the reference', {
      type: 'value',
      min: Math.floor(floor * 10) / 10,
      max: 1,
      nameGap: 46,
      axisLabel: { color: GREY, fontSize: 12, formatter: (value: number) => `${Math.round(100 * value)}%` },
    }),
    series: [
      {
        type: 'custom',
        data: points.map(({ at, contest }) => [at, contest.low, contest.high]),
        renderItem: drawInterval,
        z: 2,
      },
      {
        type: 'line',
        data: [[0, 0.5], ...points.map(({ at, contest }) => [at, contest.rate])],
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
          formatter: ({ value }: { value: [number, number] }) =>
            value[0] === 0 ? '' : `${(100 * value[1]).toFixed(1)}%`,
        },
        markLine: {
          symbol: 'none',
          silent: true,
          lineStyle: { color: GREY, type: 'dashed' },
          label: { formatter: 'no better than the reference', position: 'insideStartBottom', color: GREY },
          data: [{ yAxis: 0.5 }],
        },
        z: 3,
      },
    ],
  });
}

type RenderApi = { value(dimension: number): number; coord(point: [number, number]): [number, number] };

function drawInterval(_: unknown, api: RenderApi) {
  const [x, top] = api.coord([api.value(0), api.value(2)]);
  const [, bottom] = api.coord([api.value(0), api.value(1)]);
  const line = (x1: number, y1: number, x2: number, y2: number) => ({
    type: 'line',
    shape: { x1, y1, x2, y2 },
    style: { stroke: COLOURS.policy, lineWidth: 2, opacity: 0.7 },
  });
  return {
    type: 'group',
    children: [line(x, top, x, bottom), line(x - 8, top, x + 8, top), line(x - 8, bottom, x + 8, bottom)],
  };
}

/** Densities of held-out log-probabilities: before in outline, after filled. */
export function drawDensities(name: string, { before, after }: { before: Logps; after: Logps }, width: number): string {
  const all = [before, after].flatMap(({ chosen, rejected }) => [...chosen, ...rejected]);
  const low = Math.min(...all) - 0.2;
  const high = Math.max(...all) + 0.2;
  const points = Array.from({ length: 121 }, (_, at) => low + ((high - low) * at) / 120);
  const curve = (label: string, values: number[], colour: string, filled: boolean) => ({
    type: 'line',
    name: label,
    data: density(values, points).map((value, at) => [points[at], value]),
    showSymbol: false,
    smooth: true,
    lineStyle: { color: colour, width: filled ? 2 : 1.5, type: filled ? 'solid' : 'dashed' },
    itemStyle: { color: colour },
    ...(filled ? { areaStyle: { color: colour, opacity: 0.12 } } : {}),
  });
  return draw(name, width, 240, {
    grid: { left: 16, right: 16, top: 8, bottom: 48 },
    xAxis: axis('log-probability per token', {
      type: 'value',
      min: Math.floor(low * 2) / 2,
      max: Math.ceil(high * 2) / 2,
    }),
    yAxis: axis('', { type: 'value', axisLabel: { show: false } }),
    series: [
      curve('chosen, before', before.chosen, COLOURS.chosen, false),
      curve('rejected, before', before.rejected, COLOURS.rejected, false),
      curve('chosen, after', after.chosen, COLOURS.chosen, true),
      curve('rejected, after', after.rejected, COLOURS.rejected, true),
    ],
  });
}

/** The same log-probabilities as boxes, all rounds beside one another. */
export function drawBoxes(story: Story): string {
  const boxes = story.chapters.flatMap((chapter, at): [string, Logps][] => {
    const heldOut = heldOutOf(chapter);
    if (!heldOut) return [];
    return [
      [`round ${at + 1}\nbefore`, heldOut.before],
      [`round ${at + 1}\nafter`, heldOut.after],
    ];
  });
  const series = (name: 'chosen' | 'rejected') => ({
    type: 'boxplot',
    name,
    data: boxes.map(([, logps]) => boxOf(logps[name])),
    itemStyle: { color: `${COLOURS[name]}22`, borderColor: COLOURS[name], borderWidth: 1.5 },
    boxWidth: [14, 34],
  });
  return draw('boxes', 1000, 320, {
    ...legend(['chosen', 'rejected']),
    grid: { left: 64, right: 24, top: 32, bottom: 48 },
    xAxis: axis('', { type: 'category', data: boxes.map(([name]) => name) }),
    yAxis: axis('log-probability per token', { type: 'value', scale: true, nameGap: 44 }),
    series: [series('chosen'), series('rejected')],
  });
}

type Curve = { name: string; metric: string; colour: string };

/** Metrics of every training step, the rounds one after another; a dotted line where a round begins. */
export function drawCurves(story: Story, label: string, curves: Curve[], width: number): string {
  let offset = 0;
  const begins: number[] = [];
  const steps = story.chapters.flatMap(({ checkpoints }) => {
    const train = checkpoints.filter(({ split }) => split === 'train');
    begins.push(offset);
    const placed = train.map(({ step_number, metrics }) => ({ x: offset + step_number, metrics }));
    offset += train.length;
    return placed;
  });
  return draw(label.replace(/\W+/g, '-'), width, 260, {
    ...(curves.length > 1 ? legend(curves.map(({ name }) => name)) : {}),
    title: { text: label, left: 8, top: 0, textStyle: { fontSize: 13, fontWeight: 600, color: COLOURS.ink } },
    grid: { left: 52, right: 16, top: 36, bottom: 44 },
    xAxis: axis('step', wholeAxis(offset)),
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
          ...(at === 0 ? { markLine: markBeginnings(begins) } : {}),
        },
      ];
    }),
  });
}

const markBeginnings = (begins: number[]) => ({
  symbol: 'none',
  silent: true,
  label: { show: false },
  lineStyle: { color: '#9aa3b0', type: 'dotted' },
  data: begins.slice(1).map((x) => ({ xAxis: x })),
});

/** Each point with the mean of itself and up to four before it. */
function smoothPoints(points: [number, number][]): [number, number][] {
  return points.map(([x], at) => [x, mean(points.slice(Math.max(0, at - 4), at + 1).map(([, y]) => y))]);
}

/** What the visitor got while rounds trained and swapped: each answer's time, coloured by the policy it came from. */
export function drawVisits(story: Story): string {
  const published = story.chapters.map(({ published }) => published).filter((item): item is Published => item !== null);
  const known = [story.first, ...published.map(({ policy }) => policy)];
  const names = ['policy at the beginning', ...published.map((_, at) => `policy ${at + 1}`)];
  let offset = 0;
  const answers = story.chapters.flatMap(({ visit }) => {
    const placed = visit.answers.map(({ at, seconds, policy }) => ({ x: offset + at, seconds, policy }));
    offset = (placed.at(-1)?.x ?? offset) + 1;
    return placed;
  });
  return draw('visits', 1000, 240, {
    ...legend(names),
    grid: { left: 64, right: 24, top: 32, bottom: 44 },
    xAxis: axis('seconds of training, round after round', wholeAxis(offset)),
    yAxis: axis('seconds to answer', { type: 'value', min: 0, nameGap: 44 }),
    series: known.map((policy, at) => ({
      type: 'scatter',
      name: names[at],
      symbolSize: 5,
      itemStyle: { color: POLICY_COLOURS[at % POLICY_COLOURS.length], opacity: 0.9 },
      data: answers.filter((answer) => answer.policy === policy).map(({ x, seconds }) => [x, seconds]),
    })),
  });
}
