// A response of JSON lines, read from their source as fast as the client takes them.

/** `lines`: each with its line feed. */
export function streamLines(lines: AsyncGenerator<string>): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await lines.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
  });
  return new Response(body, { headers: { 'content-type': 'application/jsonl; charset=utf-8' } });
}
