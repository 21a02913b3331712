// Server-sent events of a POST, which the browser's own EventSource has not: what the API streams while it generates.

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { ApiError, parseEvent, toApiError } from './api.ts';

/**
 * The data of each event, until the stream's end. Throws an ApiError, or what `signal` was aborted with. A stream that ends
 * without `[DONE]` throws, unless the caller stops reading before.
 */
export async function* streamPost<Event>(path: string, body: object, signal: AbortSignal): AsyncGenerator<Event> {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
    signal,
  }).catch((error) => {
    throw signal.aborted ? error : toOffline(error);
  });
  if (!response.ok) throw toApiError(await response.json().catch(() => null), response.status);
  const events = response.body!.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  const reader = events.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (part.value.data === '[DONE]') return;
      const event = parseEvent<Event>(part.value.data);
      if (event instanceof ApiError) throw event;
      yield event;
    }
  } catch (error) {
    throw signal.aborted || error instanceof ApiError ? error : toOffline(error);
  } finally {
    void reader.cancel().catch(() => {});
  }
  throw toOffline(new Error('the stream ended early'));
}

function toOffline(error: unknown): ApiError {
  return toApiError({ error: { message: String((error as Error).message) } }, 0);
}
