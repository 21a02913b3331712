// Measures of votes with their intervals, and votes as a bar.

import type { components } from '../../api-types.ts';
import { formatCount, formatFixed, formatPercent } from '../format.ts';

export type QueueQuality = components['schemas']['QueueQuality'];
export type Measure = QueueQuality['consistency'];

type Format = (value: number) => string;

export const asShare: Format = (value) => formatPercent(value);
export const asAlpha: Format = (value) => formatFixed(value, 2);

/** In a cell or a statistic; what it is of is in its title. */
export function Measured({
  measure: { value, interval, count },
  format = asShare,
  mark,
}: {
  measure: Measure;
  format?: Format;
  /** said where something is wrong */
  mark?: string | undefined;
}) {
  if (value === null) return <span class="quiet">–</span>;
  return (
    <span class={mark ? 'measure marked' : 'measure'} title={`${mark ? `${mark}; ` : ''}of ${formatCount(count)}`}>
      {format(value)}
      {interval && <span class="quiet">{` ${format(interval.low)} – ${format(interval.high)}`}</span>}
      {mark && <span class="hidden">{mark}</span>}
    </span>
  );
}

type Votes = { a: number; b: number; tie: number; both_bad: number };

const PARTS = [
  ['a', 'A'],
  ['b', 'B'],
  ['tie', 'tie'],
  ['both_bad', 'both bad'],
] as const;

export function VoteBar({ votes }: { votes: Votes }) {
  const total = PARTS.reduce((sum, [name]) => sum + votes[name], 0);
  if (total === 0) return <span class="quiet">no votes</span>;
  const words = PARTS.filter(([name]) => votes[name] > 0).map(([name, label]) => `${votes[name]} ${label}`);
  let at = 0;
  return (
    <span class="votes">
      <svg width="72" height="8" viewBox={`0 0 ${total} 1`} preserveAspectRatio="none" aria-hidden="true">
        {PARTS.map(([name]) => {
          const x = at;
          at += votes[name];
          return <rect key={name} class={name} x={x} y="0" width={votes[name]} height="1" />;
        })}
      </svg>
      <span>{words.join(' · ')}</span>
    </span>
  );
}
