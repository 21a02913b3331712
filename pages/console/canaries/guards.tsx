// What needs no votes: the candidate beside the baseline over the same minutes. The interval is that of their difference.

import type { Canary } from '../../api.ts';
import { formatNumber, formatPercent, formatSeconds } from '../format.ts';
import { Interval } from '../parts/interval.tsx';
import { Badge, Panel, type Tone } from '../parts/page.tsx';
import { nameCandidate, Sides } from './sides.tsx';

type Guard = Canary['guards'][number];

const NAMES: Record<Guard['name'], string> = {
  loading: 'Loading',
  errors: 'Errors',
  first_token: 'Time to first token',
  finish_reasons: 'Cut off by length',
  length: 'Length',
  repetition: 'Repetition',
  empty: 'Empty responses',
  thumbs: 'Thumbs up',
};

const STATES: Record<Guard['state'], [tone: Tone, name: string]> = {
  waiting: ['quiet', 'Not enough data yet'],
  ok: ['good', 'Not worse'],
  worse: ['bad', 'Worse'],
};

const TONES = { waiting: 'waiting', ok: 'good', worse: 'bad' } as const;

function format(value: number | null, unit: Guard['unit']): string {
  if (value === null) return '–';
  if (unit === 'share') return formatPercent(value, 1);
  if (unit === 'seconds') return formatSeconds(value);
  if (unit === 'tokens') return `${formatNumber(value)} tokens`;
  return `${formatNumber(value)} failed`;
}

/** `isNamed`: says whose they are. */
export function Guards({ canary, isNamed = false }: { canary: Canary; isNamed?: boolean }) {
  const { guards } = canary;
  const isDrawn = guards.some(({ difference }) => difference !== null);
  return (
    <Panel
      title="Guards"
      hint={
        isDrawn
          ? 'act at once if the whole interval of the difference is beyond the dashed line'
          : 'need no votes: they compare what both policies served'
      }
    >
      {isNamed && (
        <p class="sides">
          <Sides canary={canary} />
        </p>
      )}
      <ul class="guards">
        {guards.map((guard) => (
          <li key={guard.name}>
            <div class="guard-head">
              <h3>{NAMES[guard.name]}</h3>
              <Badge tone={STATES[guard.state][0]}>{STATES[guard.state][1]}</Badge>
            </div>
            <p class="quiet">
              {nameCandidate(canary)} {format(guard.candidate, guard.unit)}, baseline{' '}
              {format(guard.baseline, guard.unit)}
            </p>
            {guard.difference && (
              <Interval
                value={guard.difference.value}
                interval={guard.difference}
                bounds={[guard.tolerance]}
                tone={TONES[guard.state]}
              />
            )}
            {guard.state === 'worse' && <p class="error">{guard.message}</p>}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
