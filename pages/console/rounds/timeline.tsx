// The stages of a round on one axis of time, with how long each took.

import type { Round } from '../../api.ts';
import { formatSeconds } from '../format.ts';
import { listSpans, type RoundEvent, STAGE_NAMES } from './stages.ts';

export function Timeline({ round, events, now }: { round: Round; events: RoundEvent[]; now: number }) {
  const spans = listSpans(round, events, now);
  const start = spans[0]!.from;
  const total = Math.max(1, spans.at(-1)!.to - start);
  const share = (seconds: number) => `${(100 * seconds) / total}%`;
  return (
    <ol class="timeline">
      {spans.map(({ stage, from, to, isOpen }, at) => (
        <li key={`${stage} ${at}`} class={isOpen ? 'open' : undefined} aria-current={isOpen ? 'step' : undefined}>
          <span class="name">{STAGE_NAMES[stage]}</span>
          <svg aria-hidden="true" width="100%" height="12">
            <rect class="track" width="100%" height="12" rx="3" />
            <rect
              class="span"
              x={share(from - start)}
              width={share(Math.max(to - from, total / 250))}
              height="12"
              rx="3"
            />
          </svg>
          <span class="number">{to - from < 1 ? '< 1 s' : formatSeconds(to - from)}</span>
        </li>
      ))}
    </ol>
  );
}
