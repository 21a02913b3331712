// What all plots have in common: their colours, axes and legend, and the drawing itself, on the server into SVG by Apache
// ECharts, as text that stands in a page as it is and needs nothing when the page is read.

import * as echarts from 'echarts';

export const COLOURS = { chosen: '#12807a', rejected: '#d4682b', policy: '#3d5bd1', faint: '#c9ced6', ink: '#1d2430' };
export const GREY = '#667080';
// Without quotes: it stands in an attribute.
const FONT = 'system-ui, sans-serif';

export type Option = echarts.EChartsCoreOption;

/** `name` tells what is drawn, in words with hyphens between them: those who cannot see it are told it. */
export function draw(name: string, width: number, height: number, option: Option): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ animation: false, textStyle: { fontFamily: FONT, color: COLOURS.ink }, ...option });
    return settle(chart.renderToSVGString(), name);
  } finally {
    chart.dispose();
  }
}

/**
 * ECharts numbers its ids within one plot, so two plots in a page would clip each other; and its classes and `ecmeta`
 * attributes serve a pointer, which a still picture has no use for.
 */
function settle(svg: string, name: string): string {
  return svg
    .replace(/<style[^>]*>.*?<\/style>/gs, '')
    .replace(/ (?:class|ecmeta_\w+)="[^"]*"/g, '')
    .replace(/\bzr\d+-/g, `${name}-`)
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

/** From 0 to the very end, whose label would stand on its neighbour. */
export const wholeAxis = (end: number) => ({
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
