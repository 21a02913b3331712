import type { Round } from '../../api.ts';
import { Badge } from '../parts/page.tsx';
import { getTone, STAGE_NAMES } from './stages.ts';

export function RoundBadge({ round }: { round: Pick<Round, 'status' | 'stage'> }) {
  return <Badge tone={getTone(round)}>{STAGE_NAMES[round.stage]}</Badge>;
}
