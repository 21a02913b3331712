// Plots of the online study: what each method pays in KL from the root for its win rate, and what it does to chosen
// log-probabilities and lengths on the way.
import { axis, GREY, legend, renderSvg } from '../../report/chart.ts';
import { OBJECTIVE_COLOURS } from '../band.ts';
import { type MethodRuns, meanPath } from './frontier.ts';
import { shareBetween } from './path.ts';

export type PathMetric = 'winRate' | 'chosen' | 'length';

const TITLES: Record<PathMetric, string> = {
  winRate: 'win rate against the root',
  chosen: 'Δ log-prob. of chosen, nats',
  length: 'tokens of a response',
};

/** Dashes tell the reference apart: the root, the root with importance weights, the parent. */
function lineType({ spec }: MethodRuns): 'solid' | 'dashed' | 'dotted' {
  if (spec.weighting === 'importance') return 'dotted';
  return spec.reference === 'parent' ? 'dashed' : 'solid';
}

/** A metric of each method by KL from the root, a point for each round; mean over replicates. */
export function drawFrontier(
  name: string,
  methods: readonly MethodRuns[],
  metric: PathMetric,
  { width, maxKl }: { width: number; maxKl: number },
): string {
  const objectives = [...new Set(methods.map(({ spec }) => spec.objective))];
  return renderSvg(name, width, 300, {
    ...legend(objectives),
    grid: { left: 60, right: 18, top: 34, bottom: 44 },
    xAxis: axis('KL(policy ‖ root), nats/response', { type: 'value', min: 0, max: maxKl, nameGap: 28 }),
    yAxis: axis(TITLES[metric], {
      type: 'value',
      scale: true,
      nameGap: 44,
      ...(metric === 'winRate' && {
        max: 1,
        axisLabel: { color: GREY, fontSize: 12, formatter: (share: number) => `${Math.round(100 * share)}%` },
      }),
    }),
    series: methods.map((method) => {
      const color = OBJECTIVE_COLOURS[method.spec.objective];
      return {
        type: 'line',
        name: method.spec.objective,
        data: clip(
          meanPath(method).map((point): [number, number] => [point.kl, point[metric]]),
          maxKl,
        ),
        symbol: 'circle',
        symbolSize: 5,
        lineStyle: { color, width: 2, type: lineType(method) },
        itemStyle: { color },
      };
    }),
  });
}

/** The part of a path up to a KL, with its last piece interpolated. */
function clip(path: [kl: number, value: number][], maxKl: number): [number, number][] {
  const beyond = path.findIndex(([kl]) => kl > maxKl);
  if (beyond <= 0) return path;
  const [[kl, value], [nextKl, nextValue]] = [path[beyond - 1]!, path[beyond]!];
  return [...path.slice(0, beyond), [maxKl, value + shareBetween(kl, nextKl, maxKl) * (nextValue - value)]];
}
