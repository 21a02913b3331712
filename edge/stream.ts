// Server-sent events: the one way in which the API streams. A reader that goes away aborts the work behind it.

import { errorBody, toAttuneError } from './answer.ts';

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  // Proxies of the nginx kind hold events back unless told.
  'x-accel-buffering': 'no',
};

export type Send = (data: unknown, fields?: { event?: string; id?: string }) => void;

/**
 * Streams what `produce` sends. What it throws after the first byte becomes an event in the shape of an error, and
 * the stream ends without `[DONE]`, so that no client takes it for whole.
 */
export function streamEvents(abort: AbortController, produce: (send: Send) => Promise<void>): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const send: Send = (data, fields = {}) => {
        if (abort.signal.aborted) return;
        const lines = [
          ...(fields.event ? [`event: ${fields.event}`] : []),
          ...(fields.id ? [`id: ${fields.id}`] : []),
          `data: ${typeof data === 'string' ? data : JSON.stringify(data)}`,
        ];
        controller.enqueue(encoder.encode(`${lines.join('\n')}\n\n`));
      };
      produce(send)
        .catch((error: unknown) => send(errorBody(toAttuneError(error))))
        .finally(() => {
          if (!abort.signal.aborted) controller.close();
        });
    },
    cancel() {
      abort.abort();
    },
  });
  return new Response(body, { headers: HEADERS });
}
