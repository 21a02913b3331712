// What requests get that cannot be served as they are: a clear refusal, and everybody else goes on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEdge } from '../edge/node.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';
import { readSettings } from '../shared/settings.ts';
import { withEdge } from './backstage.ts';
import { type Json, setStage } from './stage.ts';

const stage = await setStage();
const messages = [{ role: 'user', content: 'Once upon a time' }];

const refusals: [string, object, string, RegExp][] = [
  ['a temperature below 0', { temperature: -1 }, 'temperature', /0/],
  ['a temperature in words', { temperature: 'hot' }, 'temperature', /number/],
  ['a thousand choices', { n: 1000 }, 'n', /16/],
  ['no choice', { n: 0 }, 'n', /1/],
  ['half a choice', { n: 1.5 }, 'n', /int/],
  ['an empty nucleus', { top_p: 0 }, 'top_p', /0/],
  ['more than all of the nucleus', { top_p: 1.1 }, 'top_p', /1/],
  ['a negative top_k', { top_k: -1 }, 'top_k', /0/],
  ['a min_p over 1', { min_p: 2 }, 'min_p', /1/],
  ['a penalty out of range', { presence_penalty: 3 }, 'presence_penalty', /2/],
  ['no tokens', { max_tokens: 0 }, 'max_tokens', /1/],
  ['more tokens than the context holds', { max_tokens: 128 }, 'max_tokens', /128 is over the context/],
  ['the same by its newer name', { max_completion_tokens: 1e9 }, 'max_completion_tokens', /over the context/],
  ['a negative seed', { seed: -1 }, 'seed', /0/],
  ['a bias for a word', { logit_bias: { word: 1 } }, 'logit_bias.word', /token ids/],
  ['a bias for a token there is none of', { logit_bias: { 99999: 1 } }, 'logit_bias', /outside the vocabulary/],
  ['five stop strings', { stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop', /./],
  ['a stream in words', { stream: 'yes' }, 'stream', /boolean/],
  ['a metadata value that is no text', { metadata: { a: 1 } }, 'metadata.a', /string/],
];
for (const [name, fields, param, message] of refusals) {
  test(`${name} is refused by the field's name`, async () => {
    const { status, body, headers } = await stage.request('/v1/chat/completions', { json: { messages, ...fields } });
    assert.equal(status, 400, JSON.stringify(body));
    assert.equal(body.error.param, param);
    assert.match(body.error.message, message);
    assert.equal(headers.get('x-should-retry'), 'false');
  });
}

test('a length over the context is refused with the largest there is, and that one is taken', async () => {
  const routes: [string, object][] = [
    ['/v1/chat/completions', { messages }],
    ['/v1/completions', { prompt: 'Once upon a time' }],
    ['/v1/comparisons', { prompt: 'Once upon a time' }],
  ];
  for (const [path, json] of routes) {
    const refused = await stage.request(path, { json: { ...json, max_tokens: 1000 } });
    assert.equal(refused.status, 400);
    assert.equal(refused.body.error.code, 'context_length_exceeded');
    const room = Number(/give (\d+) or less/.exec(refused.body.error.message)?.[1]);
    assert.equal((await stage.request(path, { json: { ...json, max_tokens: room + 1 } })).status, 400);
    assert.equal((await stage.request(path, { json: { ...json, max_tokens: room } })).status, 200);
    // Left out, it is what there is room for, even where that is less than the default.
    assert.equal((await stage.request(path, { json })).status, 200);
  }
});

test('each of several API keys is let in, and nothing else', async () => {
  await withEdge(stage, { API_KEY: 'first-secret-key,second-secret-key' }, async (send, url) => {
    const statusWith = async (authorization?: string) =>
      (await send('/v1/completions', { prompt: 'Once', max_tokens: 2 }, authorization ? { authorization } : {})).status;
    assert.equal(await statusWith('Bearer first-secret-key'), 200);
    assert.equal(await statusWith('Bearer second-secret-key'), 200);
    for (const wrong of [undefined, 'Bearer first-secret-key,second-secret-key', 'Bearer first-secret', 'second'])
      assert.equal(await statusWith(wrong), 401, wrong);
    const document = (await (await fetch(`${url}/openapi.json`)).json()) as Json;
    assert.equal(document.components.securitySchemes.key.scheme, 'bearer');
    assert.deepEqual(document.security, [{ key: [] }]);
    assert.deepEqual(document.paths['/health'].get.security, []);
  });
  const open = (await stage.request('/openapi.json')).body;
  assert.deepEqual(open.security, []);
});

test('while no policy is loaded everything that generates gets 503 with retry-after', async () => {
  await stage.connection.sql`create database empty`;
  const url = new URL(stage.databaseUrl);
  url.pathname = '/empty';
  await migrateDatabase(url.href);
  const settings = readSettings({ ATTUNE_HOME: stage.home, PORT: '0' });
  const edge = await startEdge(settings, url.href);
  try {
    for (const path of ['/v1/chat/completions', '/v1/completions', '/v1/comparisons']) {
      const response = await fetch(edge.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(path.includes('chat') ? { messages } : { prompt: 'Once' }),
      });
      assert.equal(response.status, 503);
      assert.equal(((await response.json()) as Json).error.code, 'policy_not_loaded');
      assert.ok(response.headers.get('retry-after'));
      assert.equal(response.headers.get('x-should-retry'), 'true');
    }
    assert.equal((await fetch(`${edge.url}/health`)).status, 503);
    assert.equal((await fetch(`${edge.url}/status`)).status, 200);
  } finally {
    await edge.close();
  }
});
