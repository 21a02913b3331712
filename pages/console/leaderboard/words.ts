// The leaderboard as the API has it, and how its policies are called.

import type { components } from '../../api-types.ts';

export type Leaderboard = components['schemas']['Leaderboard'];
export type Ranked = Leaderboard['policies'][number];

export function namePolicy({ policies }: Leaderboard, id: string): string {
  if (id === 'given') return 'given responses';
  const name = policies.find(({ policy }) => policy === id)?.name;
  const isAlone = policies.filter((one) => one.name === name).length === 1;
  return name && isAlone ? name : `${name ?? ''} ${id.slice(-6)}`.trim();
}

export function formatPoints(points: number | null): string {
  if (points === null) return '–';
  const rounded = Math.round(points);
  return rounded > 0 ? `+${rounded}` : String(rounded).replace('-', '−');
}
