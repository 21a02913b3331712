// Densities of held-out log-probabilities before and after training, with their legend.

import { html } from 'hono/html';
import { axis, COLOURS, renderSvg } from './chart.ts';
import { figure, type Html } from './components.ts';
import { density } from './statistics.ts';

/** Mean log-probability per token of each chosen and each rejected response. */
export type Logps = { chosen: number[]; rejected: number[] };
export type LogpsBeforeAfter = { before: Logps; after: Logps };

/** One plot per entry, side by side under one legend. */
export function logpDensities(plots: { title: string; name: string; logps: LogpsBeforeAfter }[], width: number): Html {
  const key = (name: 'chosen' | 'rejected', when: string) =>
    html`<span><i class="${when}" style="color:var(--${name})"></i>${name}, ${when}</span>`;
  const legend = ['before', 'after'].map((when) => [key('chosen', when), key('rejected', when)]);
  return html`<p class="legend">${legend}</p><div class="row">${plots.map(
    ({ title, name, logps }) => html`<div><h3>${title}</h3>${figure(drawDensities(name, logps, width))}</div>`,
  )}</div>`;
}

/** Before: dashed outline. After: filled. */
function drawDensities(name: string, { before, after }: LogpsBeforeAfter, width: number): string {
  const all = [before, after].flatMap(({ chosen, rejected }) => [...chosen, ...rejected]);
  const low = Math.min(...all) - 0.2;
  const high = Math.max(...all) + 0.2;
  const points = Array.from({ length: 121 }, (_, at) => low + ((high - low) * at) / 120);
  const curve = (label: string, values: number[], colour: string, isFilled: boolean) => ({
    type: 'line',
    name: label,
    data: density(values, points).map((value, at) => [points[at], value]),
    showSymbol: false,
    smooth: true,
    lineStyle: { color: colour, width: isFilled ? 2 : 1.5, type: isFilled ? 'solid' : 'dashed' },
    itemStyle: { color: colour },
    ...(isFilled ? { areaStyle: { color: colour, opacity: 0.12 } } : {}),
  });
  return renderSvg(name, width, 240, {
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
