// Policies and models: lists, promotion and rollback.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import { waitUntilServed } from './activation.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';
import { followEvents } from './server-sent-events.ts';

/** `all`: the runtimes that must follow a swap within five seconds. */
export function testPolicies(api: Api, all: Api[]): void {
  const { server, client, request } = api;
  const model = async () =>
    (await request('/v1/completions', { json: { prompt: 'Once', max_tokens: 2, store: false } })).body.model;
  const promote = (id: string) => request(`/v1/policies/${id}/promote`, { method: 'POST' });
  const rollback = () => request('/v1/policies/rollback', { method: 'POST' });

  test('the models are `attune` and every policy, and a policy id selects that policy', async () => {
    const other = await api.importTiny(2);
    const ids = (await client.models.list()).data.map(({ id }) => id);
    assert.equal(ids[0], 'attune');
    const policies = (await request('/v1/policies?limit=100')).body.data.map(({ id }: Json) => id);
    assert.deepEqual(ids.slice(1), policies);
    assert.ok(ids.includes(other) && ids.includes(server.policyId));
    assert.equal((await client.models.retrieve('attune')).id, 'attune');
    const found = await client.models.retrieve(other);
    assert.deepEqual([found.id, found.object, found.owned_by], [other, 'model', 'attune']);
    assert.equal((await client.completions.create({ model: other, prompt: 'Once', max_tokens: 2 })).model, other);
    assert.equal(await model(), server.policyId);
    const path = await request('/v1/completions', { json: { prompt: 'Once', model: `x/${other}` } });
    assert.equal(path.body.error.code, 'model_not_found');
  });

  test('a policy has its manifest and whether it is active', async () => {
    const { status, body } = await request(`/v1/policies/${server.policyId}`);
    assert.equal(status, 200);
    assert.equal(body.active, true);
    assert.equal(body.manifest.id, server.policyId);
    assert.match(body.manifest.files['tokenizer.json'].sha256, /^[0-9a-f]{64}$/);
    api.record('a policy', body);
  });

  test('the lineage of an imported policy is that policy', async () => {
    const { status, body } = await request(`/v1/policies/${server.policyId}/lineage`);
    assert.equal(status, 200);
    const [{ created: _, ...step }] = body.data;
    assert.deepEqual(
      { ...body, data: [step] },
      {
        object: 'lineage',
        policy: server.policyId,
        data: [
          {
            policy: server.policyId,
            name: step.name,
            round: null,
            learned: 0,
            replayed: 0,
            held_out: 0,
            sources: {},
            raters: [],
            rater_count: 0,
          },
        ],
        next: null,
      },
    );
    assert.equal((await request('/v1/policies/pol_none/lineage')).status, 404);
  });

  test('promotion and rollback take effect at once on the requested runtime, and within five seconds on all', async () => {
    const other = await api.importTiny(3);
    const promoted = await promote(other);
    assert.equal(promoted.status, 200, promoted.text);
    assert.deepEqual([promoted.body.id, promoted.body.active], [other, true]);
    assert.equal(await model(), other);
    await Promise.all(all.map((one) => waitUntilServed(one, other)));
    const back = await rollback();
    assert.equal(back.body.id, server.policyId);
    assert.equal(await model(), server.policyId);
    await Promise.all(all.map((one) => waitUntilServed(one, server.policyId)));
  });

  test('a rollback from a policy that was rolled back meanwhile changes nothing', async () => {
    const other = await api.importTiny(5);
    assert.equal((await promote(other)).status, 200);
    const rollBackFrom = (from: string, name = `from ${from} ${api.runtime}`) =>
      request('/v1/policies/rollback', {
        json: { from },
        headers: { authorization: `Bearer ${KEYS[0]}`, 'idempotency-key': name },
      });
    const back = await rollBackFrom(other);
    assert.deepEqual([back.status, back.body.id], [200, server.policyId]);
    assert.equal((await rollBackFrom(other)).text, back.text);
    const refused = await rollBackFrom(other, `again ${api.runtime}`);
    assertError(refused, 409);
    const { code, message } = refused.body.error;
    assert.equal(code, 'activation_conflict');
    const problem = `${server.policyId} is active, not ${other}; nothing was changed; roll back again if that is still wanted`;
    assert.equal(message, problem);
    assert.equal(refused.headers.get('x-should-retry'), 'false');
    assert.equal((await request(`/v1/policies/${server.policyId}`)).body.active, true);
    await Promise.all(all.map((one) => waitUntilServed(one, server.policyId)));
  });

  test('a stream finishes on the policy it started with, and new requests get the new one', async () => {
    const other = await api.importTiny(4);
    const json = { prompt: 'Once', max_tokens: 100, stream: true, logit_bias: { 1: -100, 2: -100 } };
    const response = await api.fetch('/v1/completions', { json });
    const data: string[] = [];
    let promoted: Promise<{ status: number }> | undefined;
    for await (const event of followEvents(response)) {
      promoted ??= promote(other);
      data.push(event.data);
    }
    assert.equal((await promoted)?.status, 200);
    assert.equal(data.pop(), '[DONE]');
    const chunks = data.map((text) => JSON.parse(text));
    assert.deepEqual([...new Set(chunks.map((chunk) => chunk.model))], [server.policyId]);
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'length');
    assert.equal(await model(), other);
    assert.equal((await rollback()).body.id, server.policyId);
    await Promise.all(all.map((one) => waitUntilServed(one, server.policyId)));
  });
}
