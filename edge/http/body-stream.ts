// The body of a request as a stream, for an operation that takes any amount. A client that stalls, or sends a few bytes at a
// time, is disconnected: it would hold its place for hours.

import { AttuneError } from '../../shared/error.ts';
import { awaitBody } from './await-body.ts';

/** At least so many bytes must arrive in so many seconds of waiting; the time in which nobody reads does not count. */
type Pace = { bytes: number; seconds: number };

const SLOWEST_PACE: Pace = { bytes: 16_384, seconds: 30 };

/** Throws if the body is empty (platforms differ in whether an empty one is null), breaks off, or is too slow. */
export async function* readBodyStream(
  body: ReadableStream<Uint8Array> | null,
  { bytes, seconds }: Pace = SLOWEST_PACE,
): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader();
  let isEmpty = true;
  let arrived = 0;
  let waitedMs = 0;
  try {
    while (reader) {
      const startedAt = performance.now();
      const { value, done } = await awaitBody(reader.read(), seconds * 1000 - waitedMs, {
        tooSlow: `fewer than ${bytes} bytes of the body arrived in ${seconds} seconds; send it faster`,
        incomplete: 'the connection ended before the whole body arrived; what had arrived may be imported',
      });
      if (done) break;
      waitedMs += performance.now() - startedAt;
      arrived += value.length;
      if (arrived >= bytes) [arrived, waitedMs] = [0, 0];
      if (value.length > 0) isEmpty = false;
      yield value;
    }
  } finally {
    await reader?.cancel().catch(() => {});
  }
  if (isEmpty) throw new AttuneError('the body is empty; send JSONL or a JSON array', { code: 'empty_body' });
}
