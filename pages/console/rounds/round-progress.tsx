// Where an unfinished round is, and how long the rest takes.

import type { Round } from '../../api.ts';
import { formatSeconds } from '../format.ts';
import { STAGE_NAMES } from './stages.ts';

export function RoundProgress({ round }: { round: Round }) {
  const { progress, stage } = round;
  const { done, total } = progress ?? { done: 0, total: 0 };
  const hasShare = progress?.stage === stage && total > 0;
  const left = progress?.seconds_left;
  return (
    <div class="round-progress">
      <div>
        <span>{STAGE_NAMES[stage]}</span>
        <span class="quiet number">
          {[hasShare && `${done} of ${total}`, left != null && `about ${formatSeconds(left)} left`]
            .filter(Boolean)
            .join(' · ')}
        </span>
      </div>
      {hasShare ? (
        <progress value={done} max={total} aria-label={STAGE_NAMES[stage]} />
      ) : (
        <progress aria-label={STAGE_NAMES[stage]} />
      )}
    </div>
  );
}
