// Counts as bars beside their names, longest first as given: a list, so that it needs no plot to be read.

import { formatCount } from '../format.ts';

export type Bar = { name: string; count: number; hint?: string };

/** Of more, the rest is behind a click. */
const MOST = 10;

export function Bars({ bars, empty }: { bars: Bar[]; empty: string }) {
  if (bars.length === 0) return <p class="quiet">{empty}</p>;
  const longest = Math.max(...bars.map(({ count }) => count), 1);
  const most = bars.length > MOST + 1 ? MOST : bars.length;
  return (
    <>
      <BarList bars={bars.slice(0, most)} longest={longest} />
      {bars.length > most && (
        <details class="more-bars">
          <summary>{`${formatCount(bars.length - most)} more`}</summary>
          <BarList bars={bars.slice(most)} longest={longest} />
        </details>
      )}
    </>
  );
}

function BarList({ bars, longest }: { bars: Bar[]; longest: number }) {
  return (
    <ul class="bars">
      {bars.map(({ name, count, hint }) => (
        <li key={name}>
          <span class="name" title={name}>
            {name}
          </span>
          <span class="number">{formatCount(count)}</span>
          <svg aria-hidden="true" width="100%" height="4">
            <rect width={`${(100 * count) / longest}%`} height="4" rx="2" />
          </svg>
          {hint && <span class="quiet hint">{hint}</span>}
        </li>
      ))}
    </ul>
  );
}
