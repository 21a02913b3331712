import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageSplitter, readBind, readParse, readQuery } from './wire-messages.ts';

function message(type: string, body: string): Buffer {
  const bytes = Buffer.alloc(5 + Buffer.byteLength(body));
  bytes.write(type, 'latin1');
  bytes.writeInt32BE(bytes.length - 1, 1);
  bytes.write(body, 5);
  return bytes;
}

const startup = Buffer.from([0, 0, 0, 8, 0, 3, 0, 0]);

test('messages come out whole, however the bytes arrive', () => {
  const bytes = Buffer.concat([startup, message('P', 's1\0select 1\0\0\0'), message('B', '\0s1\0'), message('S', '')]);
  for (const size of [1, 3, 7, bytes.length]) {
    const splitter = new MessageSplitter('client');
    const messages = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
      splitter.push(bytes.subarray(at * size, (at + 1) * size)),
    ).flat();
    assert.deepEqual(
      messages.map(({ type }) => type),
      ['startup', 'P', 'B', 'S'],
    );
    assert.deepEqual(Buffer.concat(messages.map((one) => one.bytes)), bytes);
    assert.deepEqual(readParse(messages[1]!), ['s1', 'select 1']);
    assert.equal(readBind(messages[2]!), 's1');
  }
});

test('a simple query is read', () => {
  const [query] = new MessageSplitter('server').push(message('Q', 'begin\0'));
  assert.equal(readQuery(query!), 'begin');
});
