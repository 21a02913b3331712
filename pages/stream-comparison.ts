// A comparison while it is written: the server sends both sides evenly, and this shows no more of one than of the other.

import type { Comparison, Prompt } from './api.ts';
import { cutEvenly, type Pieces, type SideTexts } from './even-texts.ts';
import { streamPost } from './event-stream.ts';

type Chunk = { object: 'comparison.chunk'; id: string; side: 'a' | 'b'; text: string };

/**
 * Calls `show` as the texts grow. Throws an ApiError, or what `signal` was aborted with. `body`: of POST /v1/comparisons.
 */
export async function streamComparison(
  body: { messages: Prompt } | { prompt: string; max_tokens?: number },
  show: (texts: SideTexts) => void,
  signal: AbortSignal,
): Promise<Comparison> {
  const pieces: Pieces = { a: [], b: [] };
  for await (const event of streamPost<Chunk | Comparison>('/v1/comparisons', body, signal)) {
    if (event.object === 'comparison') return event;
    pieces[event.side].push(event.text);
    show(cutEvenly(pieces));
  }
  throw new Error('internal: a comparison ended without its last event');
}
