// The events of a round, from the first to the last, as they happen.

import { useEffect, useState } from 'preact/hooks';
import type { RoundEvent } from './stages.ts';

/** `onEnd`: the round has ended. */
export function useRoundEvents(id: string, onEnd: () => void): RoundEvent[] {
  const [events, setEvents] = useState<RoundEvent[]>([]);
  useEffect(() => {
    setEvents([]);
    let waiting: RoundEvent[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const show = () => {
      const added = waiting;
      waiting = [];
      timer = undefined;
      setEvents((before) => [...before, ...added]);
    };
    // The browser reconnects by itself, after the last event that it has seen.
    const source = new EventSource(`/v1/rounds/${id}/events`);
    source.onmessage = ({ data, lastEventId }) => {
      waiting.push({ id: Number(lastEventId), ...JSON.parse(data) });
      // The first ones come all at once.
      timer ??= setTimeout(show, 50);
    };
    source.addEventListener('done', () => {
      source.close();
      onEnd();
    });
    return () => {
      source.close();
      clearTimeout(timer);
    };
  }, [id]);
  return events;
}
