// A measured value with its interval, against the bound that it is held to: drawn to one scale, and said in words.

import { formatNumber } from '../format.ts';

type IntervalProps = {
  value: number;
  interval: { low: number; high: number } | null;
  /** what it is held to */
  bounds: number[];
  tone: 'good' | 'bad' | 'waiting';
  format?: (value: number) => string;
};

/** Percentages, so that it is as wide as its place. */
export function Interval({ value, interval, bounds, tone, format = formatNumber }: IntervalProps) {
  const { low, high } = interval ?? { low: value, high: value };
  const ends = [low, high, value, ...bounds];
  const [min, max] = [Math.min(...ends), Math.max(...ends)];
  const margin = (max - min || Math.abs(max) || 1) * 0.08;
  const place = (at: number) => `${(100 * (at - min + margin)) / (max - min + 2 * margin)}%`;
  const spoken = `${format(value)}${interval ? `, between ${format(low)} and ${format(high)}` : ''}; bound ${bounds.map((bound) => format(bound)).join(' and ')}`;
  return (
    <svg class={`interval ${tone}`} role="img" aria-label={spoken} width="100%" height="24">
      <title>{spoken}</title>
      <line class="scale" x1="0" x2="100%" y1="12" y2="12" />
      {bounds.map((bound) => (
        <line key={bound} class="bound" x1={place(bound)} x2={place(bound)} y1="2" y2="22" />
      ))}
      {interval && <line class="range" x1={place(low)} x2={place(high)} y1="12" y2="12" />}
      <circle cx={place(value)} cy="12" r="4.5" />
    </svg>
  );
}
