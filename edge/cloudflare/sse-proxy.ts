// Passes a server-sent event stream of an upstream on as it arrives, in whole events and byte for byte. (A parsing library
// would have to serialize the events again.) If the upstream breaks off, the client gets an error event and no `[DONE]`.

import type { AttuneError } from '../../shared/error.ts';
import type { Deadline } from '../http/deadline.ts';
import { toErrorBody } from '../http/errors.ts';

/** A client that disconnects, or the deadline, cancels the source too. `toError` is called if the source ends early. */
export function proxyEvents(
  source: ReadableStream<Uint8Array>,
  deadline: Deadline,
  toError: () => AttuneError,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  let partial = '';
  let lastEvent = '';

  /** The next whole events, or null at the end. */
  async function read(): Promise<string | null> {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return null;
      partial += decoder.decode(value, { stream: true });
      const end = partial.lastIndexOf('\n\n') + 2;
      if (end < 2) continue;
      const events = partial.slice(0, end);
      partial = partial.slice(end);
      lastEvent = events.slice(0, -2).split('\n\n').at(-1)!;
      return events;
    }
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const events = await read().catch(() => null);
        if (events !== null) return controller.enqueue(encoder.encode(events));
        if (!isFinalEvent(lastEvent)) {
          controller.enqueue(encoder.encode(`data: ${JSON.stringify(toErrorBody(toError()))}\n\n`));
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

/** Every complete stream of this API ends with one of these. */
function isFinalEvent(event: string): boolean {
  return event.startsWith('data: [DONE]') || event.startsWith('data: {"error":');
}
