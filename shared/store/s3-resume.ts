// A download that goes on where it was cut. It never mixes two objects: the server is asked for the rest of this one, by
// its ETag.

import type { S3Client, S3Response } from './s3-client.ts';
import { unreachableError } from './s3-errors.ts';

/** The body of the first answer; where its connection breaks or falls silent, the rest is asked for again. */
export function resumableBody(wire: S3Client, key: string, first: S3Response): ReadableStream<Uint8Array> {
  const etag = first.headers.get('etag');
  let reader = first.body!.getReader();
  let offset = 0;
  let failures = 0;

  async function goOn(): Promise<void> {
    const headers = { range: `bytes=${offset}-`, ...(etag ? { 'if-match': etag } : {}) };
    const rest = await wire.send({ method: 'GET', key, headers, isStreamed: true });
    if (rest.status !== 206) {
      await rest.body?.cancel();
      throw unreachableError(
        wire.location,
        new Error(`${key} was cut at byte ${offset}, and the server gives no ranges`),
      );
    }
    reader = rest.body!.getReader();
  }

  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      for (;;) {
        try {
          const { done, value } = await wire.withTimeout(reader.read());
          if (done) return controller.close();
          offset += value.length;
          failures = 0;
          return controller.enqueue(value);
        } catch (error) {
          void reader.cancel().catch(() => {});
          await wire.backOff(++failures, unreachableError(wire.location, error));
          await goOn();
        }
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
