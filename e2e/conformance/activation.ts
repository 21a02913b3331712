// Before the first policy, and its coming.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import type { Api } from './api.ts';

const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

export function conformBefore(api: Api): void {
  test('while no policy is active everything that generates gets 503 with retry-after', async () => {
    const bodies: [string, object][] = [
      ['/v1/chat/completions', { messages }],
      ['/v1/completions', { prompt: 'Once', stream: true }],
      ['/v1/comparisons', { prompt: 'Once' }],
    ];
    for (const [path, json] of bodies) {
      const { status, headers, body } = await api.request(path, { json });
      assert.equal(status, 503, path);
      assert.equal(body.error.code, 'policy_not_loaded');
      assert.ok(headers.get('retry-after'));
      assert.equal(headers.get('x-should-retry'), 'true');
      api.keep(`${path} before the first policy`, body);
    }
  });

  test('OpenAI’s client tries that again, as often as it is told, and then says that the server could not', async () => {
    const before = api.calls.length;
    const request = api.connect({ maxRetries: 1 }).completions.create({ model: 'attune', prompt: 'Once' });
    await assert.rejects(request, OpenAI.InternalServerError);
    assert.equal(api.calls.length - before, 2);
  });

  test('it is alive, not healthy, and has nothing to roll back from', async () => {
    assert.equal((await api.request('/status')).status, 200);
    const health = await api.request('/health');
    assert.equal(health.status, 503);
    assert.equal(health.body.status, 'unavailable');
    assert.equal(health.body.postgres, 'ok');
    assert.equal(health.body.policy, null);
    const nothing = await api.request('/v1/policies/rollback', { method: 'POST' });
    assert.equal(nothing.status, 409);
    api.keep('a rollback from no policy', nothing.body);
  });
}

/** Resolves when the policy answers, within the five seconds that it may take anywhere. */
export async function untilServed(api: Api, policy: string): Promise<void> {
  const began = performance.now();
  let served: unknown;
  while (performance.now() - began < 5000) {
    const { body } = await api.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 1, store: false } });
    served = body.model ?? body.error.message;
    if (served === policy) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(`${api.runtime} did not serve ${policy} within five seconds: ${served}`);
}

export function conformStart(api: Api): void {
  test('a policy made active anywhere answers within five seconds, and health says where it computes', async () => {
    await untilServed(api, api.stage.policyId);
    const { status, body } = await api.request('/health');
    assert.equal(status, 200);
    const { compute, ...others } = body;
    assert.deepEqual(others, { status: 'ok', postgres: 'ok', policy: api.stage.policyId });
    assert.equal(compute.place, api.runtime);
    assert.ok(compute.reason.length > 0);
  });

  test('the first policy cannot be rolled back from, and that is not to be tried again', async () => {
    const nothing = await api.request('/v1/policies/rollback', { method: 'POST' });
    assert.equal(nothing.status, 409);
    assert.equal(nothing.headers.get('x-should-retry'), 'false');
    api.keep('a rollback from the first policy', nothing.body);
  });
}
