// A checkpoint's chat template and tokenizer are untrusted: a template that never ends costs the request that it renders,
// and nothing else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEdgeServer } from '../testing/edge-server.ts';

const server = await startEdgeServer();

/** Renders a chat that begins with `loop` for ever. */
const ENDLESS =
  "{% if messages[0]['content'] == 'loop' %}{% set many = range(1000) %}{% for a in many %}{% for b in many %}" +
  '{% for c in many %}{% for d in many %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endif %}' +
  "{{ messages[0]['content'] }}";

const chat = (model: string, content: string) =>
  server.request('/v1/chat/completions', {
    json: { model, messages: [{ role: 'user', content }], max_tokens: 2, store: false },
  });

test('while a template renders without end the server answers, and the requests behind it are completed', async () => {
  const model = await server.importTiny(2, { chatTemplate: ENDLESS });
  assert.equal((await chat(model, 'Once')).status, 200);
  let isOver = false;
  const endless = chat(model, 'loop').finally(() => {
    isOver = true;
  });
  const behind = [chat(model, 'Once'), chat('attune', 'Once')];
  let statuses = 0;
  while (!isOver) {
    assert.equal((await server.request('/status')).status, 200);
    statuses++;
    await sleep(50);
  }
  const { status, body } = await endless;
  assert.equal(status, 400);
  assert.equal(body.error.code, 'chat_template_error');
  assert.equal(body.error.param, 'messages');
  assert.match(body.error.message, /chat template takes longer than 5 seconds/);
  assert.ok(statuses > 5, `${statuses} answers`);
  for (const response of await Promise.all(behind)) assert.equal(response.status, 200);
});
