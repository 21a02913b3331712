// Server-sent events: the one way in which the API streams. What produces them never waits for their reader: a reader
// that goes away, falls too far behind or takes too long over the rest is hung up on, and the work behind it aborted.

import { toAttuneError, toErrorBody } from './errors.ts';

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  // Proxies of the nginx kind hold events back unless told.
  'x-accel-buffering': 'no',
};

/** Characters that may wait for their reader, besides what the system holds for its connection. */
const MOST_UNREAD = 2 ** 20;
/** Milliseconds to read the rest in, once all is produced. */
const PATIENCE = 60_000;

export type SendEvent = (data: unknown, fields?: { event?: string; id?: string }) => void;

/**
 * Streams what `produce` sends. What it throws after the first byte becomes an event in the shape of an error, and
 * the stream ends without `[DONE]`, so that no client takes it for whole.
 */
export function streamEvents(abort: AbortController, produce: (send: SendEvent) => Promise<void>): Response {
  const encoder = new TextEncoder();
  let unread = '';
  let isOver = false;
  let wake = () => {};
  let patience: ReturnType<typeof setTimeout> | undefined;
  let produced = Promise.resolve();

  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const hangUp = () => {
          abort.abort();
          unread = '';
          void produced.then(() => controller.error(tooSlow()));
        };
        const send: SendEvent = (data, fields = {}) => {
          if (abort.signal.aborted) return;
          unread += writeEvent(data, fields);
          if (unread.length > MOST_UNREAD) hangUp();
          wake();
        };
        produced = produce(send)
          .catch((error: unknown) => send(toErrorBody(toAttuneError(error))))
          .finally(() => {
            isOver = true;
            if (!abort.signal.aborted) patience = setTimeout(hangUp, PATIENCE);
            wake();
          });
      },
      async pull(controller) {
        while (unread === '' && !isOver)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        if (abort.signal.aborted) return;
        if (unread !== '') controller.enqueue(encoder.encode(unread));
        else {
          clearTimeout(patience);
          controller.close();
        }
        unread = '';
      },
      cancel() {
        clearTimeout(patience);
        abort.abort();
        // Over is over when what was produced is stored: in a Worker the Postgres client is closed then.
        return produced;
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: HEADERS });
}

function writeEvent(data: unknown, { event, id }: { event?: string; id?: string }): string {
  const fields = `${event ? `event: ${event}\n` : ''}${id ? `id: ${id}\n` : ''}`;
  return `${fields}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
}

function tooSlow(): Error {
  const error = new Error('stream: its reader was too slow, and was hung up on');
  // The host logs it; where it was thrown says nothing.
  error.stack = undefined;
  return error;
}
