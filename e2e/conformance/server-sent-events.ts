// A strict parser of server-sent events, for tests of their framing and timing.

import assert from 'node:assert/strict';
import type { Json } from '../../testing/edge-server.ts';

export type ServerEvent = { event?: string; id?: string; data: string };

/** All events of a complete stream; fails on invalid framing. */
export function parseEvents(text: string): ServerEvent[] {
  assert.ok(text.endsWith('\n\n'), `the stream ends within an event: ${JSON.stringify(text.slice(-80))}`);
  return text.slice(0, -2).split('\n\n').map(parseEvent);
}

function parseEvent(text: string): ServerEvent {
  const fields = text.split('\n').map((line) => {
    const [, name, value] = /^(event|id|data): (.+)$/s.exec(line) ?? assert.fail(`invalid event field: ${line}`);
    return [name!, value!] as const;
  });
  assert.equal(new Set(fields.map(([name]) => name)).size, fields.length, text);
  const { data, ...others } = Object.fromEntries(fields);
  assert.ok(data, text);
  return { ...others, data };
}

/** Events as they arrive. */
export async function* followEvents(response: Response): AsyncGenerator<ServerEvent> {
  let rest = '';
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    const events = (rest + part).split('\n\n');
    rest = events.pop()!;
    for (const event of events) yield parseEvent(event);
  }
  assert.equal(rest, '');
}

/** The chunks of a stream that ends with [DONE]. */
export function parseChunks(text: string): Json[] {
  const events = parseEvents(text);
  assert.equal(events.at(-1)!.data, '[DONE]');
  return events.slice(0, -1).map(({ data }) => JSON.parse(data));
}
