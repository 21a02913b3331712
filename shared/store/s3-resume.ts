// A download that resumes after its connection was cut. `if-match` with the object's ETag keeps it from mixing two objects.

import type { S3Client } from './s3-client.ts';
import { toUnreachableError } from './s3-errors.ts';
import type { S3Response } from './s3-protocol.ts';

/** The body of the first response; if its connection breaks or stalls, the rest is requested as a range. */
export function resumableBody(client: S3Client, key: string, first: S3Response): ReadableStream<Uint8Array> {
  const etag = first.headers.get('etag');
  let reader = first.body!.getReader();
  let offset = 0;
  let failures = 0;

  async function resume(): Promise<void> {
    const headers = { range: `bytes=${offset}-`, ...(etag ? { 'if-match': etag } : {}) };
    const rest = await client.send({ method: 'GET', key, headers, isStreamed: true });
    if (rest.status !== 206) {
      await rest.body?.cancel();
      const reason = `${key} was cut at byte ${offset}, and the server does not serve ranges`;
      throw toUnreachableError(client.location, new Error(reason));
    }
    reader = rest.body!.getReader();
  }

  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      for (;;) {
        try {
          const { done, value } = await client.withTimeout(reader.read());
          if (done) return controller.close();
          offset += value.length;
          failures = 0;
          return controller.enqueue(value);
        } catch (error) {
          void reader.cancel().catch(() => {});
          await client.backOff(++failures, toUnreachableError(client.location, error));
          await resume();
        }
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
