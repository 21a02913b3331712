// Clients that do what a server must survive. Each runs until it is told to stop, with an API key of its own; what they are
// answered does not matter.

import { type ClientRequest, request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Target = { url: string; key: string; signal: AbortSignal };
type Client = (target: Target) => Promise<void>;

const MIB = 2 ** 20;

export const HOSTILE_CLIENTS: Record<string, Client> = {
  'a flood of choices': (target) =>
    repeat(target, 40, () => post(target, '/v1/completions', { prompt: 'Once', n: 8, max_tokens: 900, ...ENDLESS })),

  'streams that nobody reads': (target) =>
    hold(target, 60, () => {
      const body = JSON.stringify({ prompt: 'Once', max_tokens: 900, stream: true, logprobs: 5, ...ENDLESS });
      return openSocket(target, [formatPost(target, '/v1/completions', body.length), body]).pause();
    }),

  'bodies sent byte by byte': (target) =>
    hold(target, 200, () => {
      const socket = openSocket(target, [formatPost(target, '/v1/preferences', 10_000)]);
      const timer = setInterval(() => socket.write(' '), 500);
      return socket.on('close', () => clearInterval(timer));
    }),

  'headers sent byte by byte': (target) =>
    hold(target, 200, () => {
      const socket = openSocket(target, ['GET /status HTTP/1.1\r\n']);
      const timer = setInterval(() => socket.write('a'), 500);
      return socket.on('close', () => clearInterval(timer));
    }),

  'prompts of a megabyte': (target) => {
    const texts = ['a', ' ', '🦊', 'ab ', '\n', 'ﷺ'].map((text) => text.repeat((MIB - 2000) / Buffer.byteLength(text)));
    return repeat(target, 6, (at) =>
      post(target, '/v1/completions', { prompt: texts[at % texts.length], max_tokens: 1 }),
    );
  },

  'prompts of ten thousand characters': (target) => {
    const texts = ['a', ' ', '🦊', 'Once upon a time '].map((text) => text.repeat(10_000 / text.length));
    return repeat(target, 6, (at) =>
      post(target, '/v1/completions', { prompt: texts[at % texts.length], max_tokens: 1 }),
    );
  },

  'schemas that are large or ambiguous': (target) => {
    const properties = Object.fromEntries(Array.from({ length: 800 }, (_, at) => [`property${at}`, { minimum: at }]));
    const lists = Array.from({ length: 40 }, (_, at) => ({ type: 'array', items: { $ref: '#' }, maxItems: at }));
    const schemas = [{ properties }, { anyOf: lists }, { pattern: `^${'(?:'.repeat(9)}.${'{1,40}){1,40}'.repeat(9)}` }];
    return repeat(target, 6, (at) => {
      const json_schema = { name: 'hostile', schema: schemas[at % schemas.length] };
      const response_format = { type: 'json_schema', json_schema };
      return post(target, '/v1/completions', { prompt: 'Once', max_tokens: 900, response_format });
    });
  },

  'metadata of a megabyte': (target) =>
    repeat(target, 6, () =>
      post(target, '/v1/preferences', { ...PREFERENCE, metadata: { a: 'a'.repeat(MIB - 1000) } }),
    ),

  'JSON nested a hundred thousand deep': (target) =>
    repeat(target, 6, () =>
      send(target, '/v1/preferences', `{"metadata": ${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}`),
    ),

  'event streams by the hundred': async (target) => {
    const round = await post(target, '/v1/rounds', {}).then((text) => JSON.parse(text).id);
    const head = `GET /v1/rounds/${round}/events HTTP/1.1\r\nhost: attune\r\nauthorization: Bearer ${target.key}\r\n\r\n`;
    await hold(target, 300, () => openSocket(target, [head]));
  },

  'a flood of connections': (target) => hold(target, 1500, () => openSocket(target, [])),

  'connections opened and reset': (target) =>
    repeat(target, 20, async () => {
      const socket = openSocket(target, ['GET /status HTTP/1.1\r\nhost: attune\r\n\r\n']);
      await sleep(5);
      socket.resetAndDestroy();
    }),

  'imports that never end': (target) =>
    hold(target, 6, () => {
      const request = openRequest(target, '/v1/preferences/import');
      const row = `${JSON.stringify({ prompt: 'p', chosen: 'a'.repeat(1000), rejected: 'b' })}\n`.repeat(20);
      const timer = setInterval(() => request.write(row), 20);
      return request.on('close', () => clearInterval(timer));
    }),

  'an import of one endless row': (target) =>
    hold(target, 2, () => {
      const request = openRequest(target, '/v1/preferences/import');
      request.write('{"prompt": "');
      const timer = setInterval(() => request.writableNeedDrain || request.write('a'.repeat(65_536)), 10);
      return request.on('close', () => clearInterval(timer));
    }),

  'streams that are hung up': (target) =>
    repeat(target, 20, async () => {
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 30);
      const signal = AbortSignal.any([stop.signal, target.signal]);
      await post({ ...target, signal }, '/v1/completions', {
        prompt: 'Once',
        max_tokens: 900,
        stream: true,
        ...ENDLESS,
      });
    }),

  'one idempotency key for everything': (target) =>
    repeat(target, 30, (at) =>
      send(target, '/v1/preferences', JSON.stringify({ ...PREFERENCE, prompt: `p ${at % 5}` }), {
        'idempotency-key': 'the same',
      }),
    ),

  'a thousand messages': (target) => {
    const messages = Array.from({ length: 1000 }, (_, at) => ({
      role: at % 2 ? 'assistant' : 'user',
      content: '{{x}}',
    }));
    return repeat(target, 6, () => post(target, '/v1/chat/completions', { messages, max_tokens: 1 }));
  },

  'exports that nobody reads': (target) =>
    hold(target, 20, () => {
      const head = `GET /v1/preferences/export HTTP/1.1\r\nhost: attune\r\nauthorization: Bearer ${target.key}\r\n\r\n`;
      return openSocket(target, [head]).pause();
    }),
};

/** No end-of-text token, so that a generation is as long as it was asked for. */
const ENDLESS = { logit_bias: { 1: -100, 2: -100 } };
const PREFERENCE = { prompt: 'p', chosen: 'a', rejected: 'b', rater: 'hostile' };
const RETRY_MS = 20;

/** So many clients, each of which does it again and again. */
async function repeat({ signal }: Target, clients: number, act: (at: number) => Promise<unknown>): Promise<void> {
  let count = 0;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (!signal.aborted) {
        await act(count++).catch(() => {});
        await sleep(RETRY_MS);
      }
    }),
  );
}

/** So many open connections; one that the server closes is opened again. */
async function hold({ signal }: Target, connections: number, open: () => Socket | ClientRequest): Promise<void> {
  const held = new Set<Socket | ClientRequest>();
  while (!signal.aborted) {
    for (let opened = 0; held.size < connections && opened < 50; opened++) {
      const connection = open();
      held.add(connection);
      connection.on('error', () => {}).on('close', () => held.delete(connection));
    }
    await sleep(100);
  }
  for (const connection of held) connection.destroy();
}

const post = (target: Target, path: string, body: object) => send(target, path, JSON.stringify(body));

async function send({ url, key, signal }: Target, path: string, body: string, headers = {}): Promise<string> {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...headers },
    body,
    signal,
  });
  return response.text();
}

const formatPost = ({ key }: Target, path: string, length: number) =>
  `POST ${path} HTTP/1.1\r\nhost: attune\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`;

function openSocket({ url }: Target, chunks: string[]): Socket {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  for (const chunk of chunks) socket.write(chunk);
  return socket;
}

function openRequest({ url, key }: Target, path: string): ClientRequest {
  const headers = { 'content-type': 'application/jsonl', authorization: `Bearer ${key}` };
  return httpRequest(url + path, { method: 'POST', headers }, (response) => response.resume());
}
