// Events of a stream that somebody else produces, handed on as they come, whole events only: where the producer breaks
// off, the client gets one last event that says so, and no `[DONE]`.

import type { AttuneError } from '../../shared/error.ts';
import type { Deadline } from '../http/deadline.ts';
import { toErrorBody } from '../http/errors.ts';

/** A client that goes away, or the deadline, ends the source too. `explain` is asked where the source ends early. */
export function proxyEvents(
  source: ReadableStream<Uint8Array>,
  deadline: Deadline,
  explain: () => AttuneError,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  let partial = '';
  let last = '';

  /** The next events, or null at the end. */
  async function read(): Promise<string | null> {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return null;
      partial += decoder.decode(value, { stream: true });
      const end = partial.lastIndexOf('\n\n') + 2;
      if (end < 2) continue;
      const events = partial.slice(0, end);
      partial = partial.slice(end);
      last = events.slice(0, -2).split('\n\n').at(-1)!;
      return events;
    }
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const events = await read().catch(() => null);
        if (events !== null) return controller.enqueue(encoder.encode(events));
        if (!isFinalEvent(last)) {
          controller.enqueue(encoder.encode(`data: ${JSON.stringify(toErrorBody(explain()))}\n\n`));
          await reader.cancel().catch(() => {});
        }
        deadline.close();
        controller.close();
      },
      async cancel(reason) {
        deadline.close();
        await reader.cancel(reason).catch(() => {});
      },
    },
    { highWaterMark: 0 },
  );
}

/** Streams of this API end with one of these. */
function isFinalEvent(event: string): boolean {
  return event.startsWith('data: [DONE]') || event.startsWith('data: {"error":');
}
