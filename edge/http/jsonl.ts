// A response that is an export, read from its source as fast as the client takes it.

/** Of an export that aggregates: how many pairs it has, and what it leaves out. */
export const AGGREGATION_HEADER = 'x-attune-aggregation';

/** `lines`: each with its line feed. */
export function streamLines(lines: AsyncGenerator<string>, headers: Record<string, string> = {}): Response {
  const encoder = new TextEncoder();
  return stream(lines, (line) => encoder.encode(line), {
    'content-type': 'application/jsonl; charset=utf-8',
    ...headers,
  });
}

export function streamBytes(chunks: AsyncGenerator<Uint8Array>, headers: Record<string, string>): Response {
  return stream(chunks, (bytes) => bytes, headers);
}

function stream<T>(
  source: AsyncGenerator<T>,
  encode: (value: T) => Uint8Array,
  headers: Record<string, string>,
): Response {
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await source.next();
      if (done) controller.close();
      else controller.enqueue(encode(value));
    },
  });
  return new Response(body, { headers });
}
