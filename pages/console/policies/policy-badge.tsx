import type { Policy } from '../../api.ts';
import { Badge, type Tone } from '../parts/page.tsx';

const STATES: Record<Policy['state'], [tone: Tone, name: string] | null> = {
  active: ['good', 'Active'],
  canary: ['busy', 'Canary'],
  rolled_back: ['bad', 'Rolled back'],
  idle: null,
};

export function PolicyBadge({ state }: Pick<Policy, 'state'>) {
  const shown = STATES[state];
  return shown && <Badge tone={shown[0]}>{shown[1]}</Badge>;
}
