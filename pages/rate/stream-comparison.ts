// A comparison while it is written: the server sends both sides evenly, and this shows no more of one than of the other.

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { ApiError, type Comparison, type Prompt, toApiError } from '../api.ts';
import { cutEvenly, type Pieces, type SideTexts } from './even-texts.ts';

type Chunk = { object: 'comparison.chunk'; id: string; side: 'a' | 'b'; text: string };
type Event = Chunk | Comparison | { error: unknown };

/** Calls `show` as the texts grow. Throws an ApiError, or what `signal` was aborted with. */
export async function streamComparison(
  messages: Prompt,
  show: (texts: SideTexts) => void,
  signal: AbortSignal,
): Promise<Comparison> {
  // The generated client has no server-sent events; this is the same operation, POST /v1/comparisons.
  const response = await fetch('/v1/comparisons', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages, stream: true }),
    signal,
  }).catch((error) => {
    if (signal.aborted) throw error;
    throw toOffline(error);
  });
  if (!response.ok) throw toApiError(await response.json().catch(() => null), response.status);
  const pieces: Pieces = { a: [], b: [] };
  try {
    for await (const event of readEvents(response)) {
      if ('error' in event) throw toApiError(event, 500);
      if (event.object === 'comparison') return event;
      pieces[event.side].push(event.text);
      show(cutEvenly(pieces));
    }
  } catch (error) {
    throw signal.aborted || error instanceof ApiError ? error : toOffline(error);
  }
  throw toOffline(new Error('the stream ended early'));
}

async function* readEvents(response: Response): AsyncGenerator<Event> {
  const events = response.body!.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  const reader = events.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read())
    if (part.value.data !== '[DONE]') yield JSON.parse(part.value.data) as Event;
}

function toOffline(error: unknown): ApiError {
  return toApiError({ error: { message: String((error as Error).message) } }, 0);
}
