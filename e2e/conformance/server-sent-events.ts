// Server-sent events as they lie on the wire, for tests of their framing; and one at a time, for tests of when they come.

import assert from 'node:assert/strict';
import type { Json } from '../../testing/edge-server.ts';

export type ServerEvent = { event?: string; id?: string; data: string };

/** Every event of a stream's text; fails where anything is not as it should be framed. */
export function readEvents(text: string): ServerEvent[] {
  assert.ok(text.endsWith('\n\n'), `the stream ends within an event: ${JSON.stringify(text.slice(-80))}`);
  return text.slice(0, -2).split('\n\n').map(readEvent);
}

function readEvent(text: string): ServerEvent {
  const fields = text.split('\n').map((line) => {
    const [, name, value] = /^(event|id|data): (.+)$/s.exec(line) ?? assert.fail(`no field of an event: ${line}`);
    return [name!, value!] as const;
  });
  assert.equal(new Set(fields.map(([name]) => name)).size, fields.length, text);
  const { data, ...others } = Object.fromEntries(fields);
  assert.ok(data, text);
  return { ...others, data };
}

/** The events of a response as they come. */
export async function* followEvents(response: Response): AsyncGenerator<ServerEvent> {
  let rest = '';
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    const events = (rest + part).split('\n\n');
    rest = events.pop()!;
    for (const event of events) yield readEvent(event);
  }
  assert.equal(rest, '');
}

/** The chunks of a stream that ends as it should. */
export function readChunks(text: string): Json[] {
  const events = readEvents(text);
  assert.equal(events.at(-1)!.data, '[DONE]');
  return events.slice(0, -1).map(({ data }) => JSON.parse(data));
}
