// A stream cut into pieces of one size, the last one shorter: what a multipart upload is made of. Never holds more than
// one piece and the chunk that it is filled from.

/** An empty stream gives no piece. */
export async function* cut(stream: ReadableStream<Uint8Array>, size: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let piece = new Uint8Array(size);
  let filled = 0;
  for await (let chunk of stream) {
    while (chunk.length > 0) {
      const taken = chunk.subarray(0, size - filled);
      piece.set(taken, filled);
      filled += taken.length;
      chunk = chunk.subarray(taken.length);
      if (filled < size) continue;
      yield piece;
      // A new one: whoever took the last may still be sending it.
      piece = new Uint8Array(size);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}
