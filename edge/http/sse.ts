// Server-sent events. A producer never waits for its reader: a reader that cancels, falls too far behind or takes too
// long to read the rest is disconnected, and its producer aborted.

import { AttuneError } from '../../shared/error.ts';
import { recordFailure, toErrorBody } from './errors.ts';
import type { RequestRecord } from './request-record.ts';

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  // nginx buffers a proxied response by default.
  'x-accel-buffering': 'no',
};

/** Characters that may wait for the reader, besides the socket's own buffer. */
const MAX_UNREAD = 2 ** 20;
/** How long a reader may take to read the rest after the producer has ended. */
const READ_TIMEOUT_MS = 60_000;

/** `isLatest`: what the reader has not read yet is out of date, and is not sent. */
export type SendEvent = (data: unknown, fields?: { event?: string; id?: string; isLatest?: boolean }) => void;

/**
 * Streams the events that `produce` sends. An error that it throws becomes an event in the shape of an error, and the
 * stream ends without `[DONE]`, so that no client mistakes it for a complete one.
 */
export function streamEvents(
  abort: AbortController,
  produce: (send: SendEvent) => Promise<void>,
  record?: RequestRecord,
): Response {
  const encoder = new TextEncoder();
  let unread = '';
  let hasEnded = false;
  let wake = () => {};
  let readTimeout: ReturnType<typeof setTimeout> | undefined;
  let producer = Promise.resolve();

  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const disconnect = () => {
          abort.abort();
          unread = '';
          void producer.then(() => controller.error(slowReader()));
        };
        const send: SendEvent = (data, fields = {}) => {
          if (abort.signal.aborted) return;
          unread = (fields.isLatest ? '' : unread) + formatEvent(data, fields);
          if (unread.length > MAX_UNREAD) disconnect();
          wake();
        };
        producer = produce(send)
          .catch((error: unknown) => send(toErrorBody(recordFailure(record, error))))
          .finally(() => {
            hasEnded = true;
            if (!abort.signal.aborted) readTimeout = setTimeout(disconnect, READ_TIMEOUT_MS);
            wake();
          });
      },
      async pull(controller) {
        while (unread === '' && !hasEnded)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        if (abort.signal.aborted) return;
        if (unread !== '') controller.enqueue(encoder.encode(unread));
        else {
          clearTimeout(readTimeout);
          controller.close();
        }
        unread = '';
      },
      cancel() {
        clearTimeout(readTimeout);
        abort.abort();
        // Resolves after the producer has stored its results: a Worker closes its Postgres client then.
        return producer;
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: HEADERS });
}

function formatEvent(data: unknown, { event, id }: { event?: string; id?: string }): string {
  const fields = `${event ? `event: ${event}\n` : ''}${id ? `id: ${id}\n` : ''}`;
  return `${fields}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
}

function slowReader(): AttuneError {
  return new AttuneError('stream: the reader was too slow and was disconnected', { code: 'slow_reader' });
}
