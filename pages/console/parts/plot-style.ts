// How axes, legends, marks and tooltips of all plots look.

import type { Palette } from './palette.ts';

export type Mark = { at: number; label: string; tone?: 'good' | 'bad' | 'quiet' };

export function markLine(palette: Palette, marks: Mark[]) {
  return {
    silent: true,
    symbol: 'none',
    animation: false,
    data: marks.map(({ at, label, tone = 'quiet' }) => ({
      yAxis: at,
      lineStyle: { color: palette[tone], type: 'dashed', width: 1 },
      label: { formatter: label, position: 'insideEndTop', color: palette[tone], fontSize: 11 },
    })),
  };
}

export const axis = (palette: Palette) => ({
  axisLine: { show: true, lineStyle: { color: palette.line } },
  axisTick: { show: false },
  axisLabel: { color: palette.quiet, fontSize: 11, hideOverlap: true },
  splitLine: { lineStyle: { color: palette.line, opacity: 0.7 } },
  nameTextStyle: { color: palette.quiet, fontSize: 11 },
});

/** How high a legend is above a plot that may be as narrow as on a phone: what does not fit in a row goes on in the next. */
export function measureLegend(names: string[], width = 320): number {
  let [rows, used] = [1, 0];
  for (const name of names) {
    const needed = 32 + 6.3 * name.length;
    if (used > 0 && used + needed > width) [rows, used] = [rows + 1, 0];
    used += needed;
  }
  return 14 + 20 * rows;
}

export const toLegend = ({ quiet }: Palette, show = true) => ({
  show,
  top: 0,
  left: 0,
  itemWidth: 14,
  itemHeight: 8,
  itemGap: 14,
  icon: 'roundRect',
  textStyle: { color: quiet, fontSize: 12 },
});

/** Drawn on the canvas: the page takes no HTML from a string. */
export const tooltip = ({ text, quiet, card, line }: Palette) => ({
  renderMode: 'richText',
  backgroundColor: card,
  borderColor: line,
  borderWidth: 1,
  padding: 8,
  confine: true,
  textStyle: { color: text, fontSize: 12 },
  axisPointer: { lineStyle: { color: quiet, type: 'solid', opacity: 0.5 } },
});
