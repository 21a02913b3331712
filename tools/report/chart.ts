// Server-side Apache ECharts: options shared by every plot, and rendering to inline SVG that needs no script.

import * as echarts from 'echarts';

export const COLOURS = { chosen: '#12807a', rejected: '#d4682b', policy: '#3d5bd1', faint: '#c9ced6', ink: '#1d2430' };
export const GREY = '#667080';
// No quotes: the value is written into an SVG attribute.
const FONT = 'system-ui, sans-serif';

export type Option = echarts.EChartsCoreOption;

/** The part of the API of a custom series' renderItem that the plots use. */
export type RenderApi = { value(dimension: number): number; coord(point: [number, number]): [number, number] };

/** `name` has words separated by hyphens; it becomes the SVG's aria-label and the prefix of its ids. */
export function renderSvg(name: string, width: number, height: number, option: Option): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ animation: false, textStyle: { fontFamily: FONT, color: COLOURS.ink }, ...option });
    return cleanSvg(chart.renderToSVGString(), name);
  } finally {
    chart.dispose();
  }
}

/** Colours of the style sheet, which has others for a dark page; ECharts takes no variables. */
const VARIABLES: Record<string, string> = {
  [COLOURS.chosen]: '--chosen',
  [COLOURS.rejected]: '--rejected',
  [COLOURS.policy]: '--blue',
  [COLOURS.faint]: '--faint',
  [COLOURS.ink]: '--ink',
  [GREY]: '--grey',
  '#edeff2': '--line',
  '#9aa3b0': '--faint',
  '#23307f': '--navy',
  '#fff': '--paper',
};

/**
 * ECharts numbers ids per plot, so clip paths of two plots in one page collide: ids get the plot's name as their prefix.
 * Classes and `ecmeta` attributes serve pointer events, which a static page does not have.
 */
function cleanSvg(svg: string, name: string): string {
  return svg
    .replace(/<style[^>]*>.*?<\/style>/gs, '')
    .replace(/ (?:class|ecmeta_\w+)="[^"]*"/g, '')
    .replace(/\bzr\d+-/g, `${name}-`)
    .replace(/"(#[0-9a-f]+)"/g, (value, colour: string) => (VARIABLES[colour] ? `"var(${VARIABLES[colour]})"` : value))
    .replace('<svg ', `<svg role="img" aria-label="${name.replaceAll('-', ' ')}" `);
}

export const axis = (name: string, more: object = {}) => ({
  name,
  nameLocation: 'middle',
  nameGap: 30,
  nameTextStyle: { color: GREY, fontSize: 12 },
  axisLabel: { color: GREY, fontSize: 12 },
  axisLine: { show: false },
  axisTick: { show: false },
  splitLine: { lineStyle: { color: '#edeff2' } },
  ...more,
});

/** From 0 to exactly `end`, without the last label, which would overlap its neighbour. */
export const stepAxis = (end: number) => ({
  type: 'value',
  min: 0,
  max: Math.ceil(Math.max(1, end)),
  axisLabel: { color: GREY, fontSize: 12, showMaxLabel: false },
});

export const legend = (data: string[]) => ({
  legend: {
    data,
    top: 0,
    right: 8,
    itemWidth: 18,
    itemHeight: 8,
    itemGap: 26,
    textStyle: { color: GREY, fontSize: 12 },
  },
});

/** Unlabelled lines across the plot, for a series' `markLine`. */
export const guideLines = (data: object[], type: 'solid' | 'dotted') => ({
  symbol: 'none',
  silent: true,
  label: { show: false },
  lineStyle: { color: '#9aa3b0', type, width: 1 },
  data,
});

/** A line of a custom series, in pixels. */
export const lineShape = ([x1, y1]: [number, number], [x2, y2]: [number, number], style: object) => ({
  type: 'line',
  shape: { x1, y1, x2, y2 },
  style,
});
