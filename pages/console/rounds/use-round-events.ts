// The events of a round, from the first to the last, as they happen.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, parseEvent } from '../../api.ts';
import type { RoundEvent } from './stages.ts';

const REOPEN_MS = 20_000;

/** `onEnd`: the round has ended. */
export function useRoundEvents(id: string, onEnd: () => void): RoundEvent[] {
  const [events, setEvents] = useState<RoundEvent[]>([]);
  useEffect(() => {
    setEvents([]);
    let waiting: RoundEvent[] = [];
    let last = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let reopen: ReturnType<typeof setTimeout> | undefined;
    let source: EventSource;
    const show = () => {
      const added = waiting;
      waiting = [];
      timer = undefined;
      setEvents((before) => [...before, ...added]);
    };
    const open = () => {
      source = new EventSource(`/v1/rounds/${id}/events`);
      source.onmessage = ({ data, lastEventId }) => {
        const event = parseEvent<Omit<RoundEvent, 'id'>>(data);
        // After an error the browser reconnects by itself, and says which event it has seen last. A stream that was opened
        // again begins with the first one.
        if (event instanceof ApiError || Number(lastEventId) <= last) return;
        last = Number(lastEventId);
        waiting.push({ id: last, ...event });
        // The first ones come all at once.
        timer ??= setTimeout(show, 50);
      };
      source.onerror = () => {
        // It was refused, and the browser does not try again.
        if (source.readyState === EventSource.CLOSED) reopen = setTimeout(open, REOPEN_MS);
      };
      source.addEventListener('done', () => {
        source.close();
        onEnd();
      });
    };
    open();
    return () => {
      source.close();
      clearTimeout(timer);
      clearTimeout(reopen);
    };
  }, [id]);
  return events;
}
