// Before and after the activation of the first policy.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { waitUntil } from '../../testing/wait-until.ts';
import type { Api } from './api.ts';

const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

export function testBeforeActivation(api: Api): void {
  test('without an active policy every generating request gets 503 with retry-after', async () => {
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
      api.record(`${path} before the first policy`, body);
    }
  });

  test('OpenAI’s client retries a 503 up to maxRetries and then throws InternalServerError', async () => {
    const before = api.calls.length;
    const request = api.connect({ maxRetries: 1 }).completions.create({ model: 'attune', prompt: 'Once' });
    await assert.rejects(request, OpenAI.InternalServerError);
    assert.equal(api.calls.length - before, 2);
  });

  test('without a policy /status is 200, /health is 503 and rollback is 409', async () => {
    assert.equal((await api.request('/status')).status, 200);
    const health = await api.request('/health');
    assert.equal(health.status, 503);
    assert.equal(health.body.status, 'unavailable');
    assert.equal(health.body.postgres, 'ok');
    assert.equal(health.body.policy, null);
    const rollback = await api.request('/v1/policies/rollback', { method: 'POST' });
    assert.equal(rollback.status, 409);
    api.record('a rollback from no policy', rollback.body);
  });
}

/** Resolves when the policy is served. */
export async function waitUntilServed(api: Api, policy: string): Promise<void> {
  await waitUntil(async () => {
    const { body } = await api.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 1, store: false } });
    return body.model === policy;
  });
}

export function testActivation(api: Api): void {
  test('an activated policy is served, and /health reports where it runs', async () => {
    await waitUntilServed(api, api.server.policyId);
    const { status, body } = await api.request('/health');
    assert.equal(status, 200);
    const { compute, ...others } = body;
    assert.deepEqual(others, { status: 'ok', postgres: 'ok', policy: api.server.policyId, candidate: null });
    assert.equal(compute.place, api.runtime);
    assert.ok(compute.reason.length > 0);
  });

  test('a rollback from the first policy is a non-retryable 409', async () => {
    const rollback = await api.request('/v1/policies/rollback', { method: 'POST' });
    assert.equal(rollback.status, 409);
    assert.equal(rollback.headers.get('x-should-retry'), 'false');
    api.record('a rollback from the first policy', rollback.body);
  });
}
