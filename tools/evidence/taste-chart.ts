// The plot of how near each objective comes to what raters of a known taste choose.
import { axis, draw, legend } from '../report/chart.ts';
import { colourOf, drawBand } from './band.ts';
import { spreadOf } from './figures.ts';
import type { Contender } from './plan.ts';
import type { Taste } from './taste.ts';

/** KL(true chosen distribution ‖ policy) step by step, on a logarithmic scale, for some of the contenders. */
export function drawTaste(name: string, taste: Taste, contenders: Contender[], [min, max]: [number, number]): string {
  const { steps } = taste.plan;
  return draw(name, 490, 330, {
    ...legend(contenders.map((contender) => contender.name)),
    grid: { left: 62, right: 16, top: 34, bottom: 44 },
    xAxis: axis('step', { type: 'value', min: 0, max: steps, interval: steps / 5 }),
    yAxis: axis('KL to what raters choose, nats', { type: 'log', min, max, nameGap: 46 }),
    series: contenders.flatMap((contender) => {
      const runs = taste.runs.filter((run) => run.contender.name === contender.name);
      const points = runs[0]!.looks.map(({ step }, at) => ({
        x: step,
        y: spreadOf(runs.map(({ looks }) => looks[at]!.forward)),
      }));
      return drawBand(contender.name, points, colourOf(contender, taste.plan.contenders));
    }),
  });
}
