// Draws the lanes of the line of descent. What it shows the rows beside it say in words.

import type { Policy } from '../../api.ts';
import type { Row } from './descent.ts';

/** As high as a row of the style sheet. */
const ROW = 56;
const LANE = 20;
const RADIUS = 5.5;

type GraphProps = { rows: Row<Policy>[]; lanes: number; line: Set<string> };

export function Graph({ rows, lanes, line }: GraphProps) {
  const x = (lane: number) => 14 + lane * LANE;
  const y = (row: number) => ROW * (row + 0.5);
  return (
    <svg aria-hidden="true" width={lanes * LANE + 12} height={rows.length * ROW}>
      {rows.map(({ edges }, row) =>
        edges.map(({ from, to, child }) => {
          const middle = (y(row) + y(row + 1)) / 2;
          const path = `M${x(from)} ${y(row)} C${x(from)} ${middle} ${x(to)} ${middle} ${x(to)} ${y(row + 1)}`;
          return <path key={child} class={line.has(child) ? 'edge line' : 'edge'} d={path} />;
        }),
      )}
      {rows.map(({ node, lane }, row) => (
        <g key={node.id} class={`node ${node.state} ${line.has(node.id) ? 'line' : ''}`}>
          <circle cx={x(lane)} cy={y(row)} r={RADIUS} />
          {node.state === 'active' && <circle class="halo" cx={x(lane)} cy={y(row)} r={RADIUS + 4} />}
          {node.state === 'rolled_back' && <path class="cross" d={`M${x(lane) - 3} ${y(row) - 3} l6 6 m0 -6 l-6 6`} />}
        </g>
      ))}
    </svg>
  );
}
