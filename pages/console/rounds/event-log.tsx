// What a round said, newest last.

import { formatTime } from '../format.ts';
import { Panel } from '../parts/page.tsx';
import { Prose } from '../parts/prose.tsx';
import type { RoundEvent } from './stages.ts';

export function EventLog({ events }: { events: RoundEvent[] }) {
  return (
    <Panel title="Events" hint={`${events.length}`}>
      <ol class="log">
        {events.map(({ id, level, message, created_at }) => (
          <li key={id} class={level}>
            <time dateTime={new Date(created_at * 1000).toISOString()} title={formatTime(created_at)}>
              {new Date(created_at * 1000).toLocaleTimeString('en-GB')}
            </time>
            <span>
              {level !== 'info' && <strong>{level === 'warn' ? 'Warning: ' : 'Error: '}</strong>}
              <Prose text={message} />
            </span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}
