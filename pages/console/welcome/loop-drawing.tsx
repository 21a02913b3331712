// The loop, with what goes round in it now.

import './loop-drawing.css';
import type { ComponentChildren } from 'preact';
import type { Loop, Round } from '../../api.ts';
import { follow } from '../../path.ts';
import { formatCount, formatPercent } from '../format.ts';
import { formatRate } from '../now/rate.ts';
import { STAGE_NAMES } from '../rounds/stages.ts';

type Station = { name: string; href: string; value: ComponentChildren; hint: string };

export function LoopDrawing({ loop, last }: { loop: Loop; last: Round | null }) {
  const { active, traffic, votes, schedule, round, canary } = loop;
  const isMoving = round !== null || traffic.requests_per_minute > 0;
  const stations: Station[] = [
    {
      name: 'Serve',
      href: '/console/now',
      value: active?.name ?? 'no policy',
      hint: `${formatRate(traffic.requests_per_minute)} requests a minute, ${formatRate(traffic.tokens_per_second)} tokens a second`,
    },
    {
      name: 'Vote',
      href: '/console/preferences',
      value: `${formatCount(votes.total)} votes`,
      hint: `${formatCount(votes.last_hour)} in the last hour`,
    },
    {
      name: 'Train',
      href: round ? `/console/rounds/${round.id}` : '/console/rounds',
      value: round ? STAGE_NAMES[round.stage] : `${formatCount(schedule.new_pairs)} new pairs`,
      hint: round ? 'a round is on its way' : describeSchedule(schedule),
    },
    {
      name: 'Decide',
      href: canary ? `/console/canaries/${canary.id}` : last ? `/console/rounds/${last.id}` : '/console/rounds',
      value: canary ? `canary, ${formatPercent(canary.share)}` : last ? STAGE_NAMES[last.stage] : 'no round yet',
      hint: canary ? 'voted on blind' : last ? 'how the last round ended' : 'by the gate, a canary and its guards',
    },
  ];
  return (
    <section
      class={['loop-drawing', isMoving && 'moving', round && 'busy'].filter(Boolean).join(' ')}
      aria-label="The loop"
    >
      <svg class="track" aria-hidden="true" width="100%" height="100%">
        <rect x="25%" y="25%" width="50%" height="50%" rx="20" />
      </svg>
      <ol>
        {stations.map(({ name, href, value, hint }) => (
          <li key={name}>
            <a href={href} onClick={follow}>
              <span class="station">{name}</span>
              <span class="value">{value}</span>
              <span class="quiet small">{hint}</span>
            </a>
          </li>
        ))}
      </ol>
    </section>
  );
}

function describeSchedule({ new_pairs: pairs, min_pairs: needed, waits_for: obstacle }: Loop['schedule']): string {
  if (pairs < needed) return `a round needs ${formatCount(needed)}`;
  return obstacle ? 'the schedule waits; Now says why' : 'a round is due';
}
