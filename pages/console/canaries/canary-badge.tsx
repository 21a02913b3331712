import type { Canary } from '../../api.ts';
import { Badge, type Tone } from '../parts/page.tsx';

const STATES: Record<Canary['state'], [tone: Tone, name: string]> = {
  running: ['busy', 'Running'],
  watching: ['busy', 'Promoted, watched'],
  kept: ['good', 'Kept'],
  rolled_back: ['bad', 'Rolled back'],
  expired: ['warn', 'Expired undecided'],
  cancelled: ['quiet', 'Cancelled'],
};

export function CanaryBadge({ state }: Pick<Canary, 'state'>) {
  const [tone, name] = STATES[state];
  return <Badge tone={tone}>{name}</Badge>;
}

export const isOpen = ({ state }: Pick<Canary, 'state'>) => state === 'running' || state === 'watching';
