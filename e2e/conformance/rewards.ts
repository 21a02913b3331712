// Rewards: listed and retrieved, and refused wherever a policy is needed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '../../shared/id.ts';
import { registerPolicy } from '../../shared/store/registry.ts';
import type { Json } from '../../testing/edge-server.ts';
import { makeManifest } from '../../testing/store-package.ts';
import type { Api } from './api.ts';

export function testRewards(api: Api): void {
  const { server, request } = api;

  test('rewards are listed and retrieved, and are neither policies nor models', async () => {
    const [, id] = [await registerReward(api), await registerReward(api)];
    const { status, body } = await request(`/v1/rewards/${id}`);
    assert.equal(status, 200);
    assert.deepEqual(
      [body.id, body.object, body.parent, body.manifest.kind],
      [id, 'reward', server.policyId, 'reward'],
    );
    assert.deepEqual((await request('/v1/rewards?limit=1')).body.data, [body]);
    for (const list of ['/v1/policies?limit=100', '/v1/models']) {
      const ids = (await request(list)).body.data.map((item: Json) => item.id);
      assert.ok(!ids.includes(id), list);
    }
  });

  test('a reward is refused wherever a policy is needed, and a policy is no reward', async () => {
    const id = await registerReward(api);
    const refused = [
      ['model', await request('/v1/score', { json: { prompt: 'Once', response: ' upon', model: id } })],
      ['reference', await request('/v1/score', { json: { prompt: 'Once', response: ' upon', reference: id } })],
      ['model', await request('/v1/completions', { json: { prompt: 'Once', model: id } })],
      [
        'model',
        await request('/v1/chat/completions', { json: { messages: [{ role: 'user', content: 'Hi' }], model: id } }),
      ],
      ['model', await request('/v1/comparisons', { json: { prompt: 'Once', models: [server.policyId, id] } })],
      ['model', await request(`/v1/policies/${id}/promote`, { method: 'POST' })],
      ['model', await request(`/v1/policies/${id}`)],
      ['model', await request(`/v1/models/${id}`)],
    ] as const;
    for (const [param, { status, body }] of refused) {
      assert.deepEqual([status, body.error.param, body.error.code], [400, param, 'reward_not_policy']);
      assert.ok(body.error.message.startsWith(`${id} is a reward, not a policy`), body.error.message);
    }
    const asReward = await request('/v1/score', {
      json: { prompt: 'Once', response: ' upon', reward: server.policyId },
    });
    assert.deepEqual([asReward.status, asReward.body.error.param], [400, 'reward']);
    const policy = await request(`/v1/rewards/${server.policyId}`);
    assert.deepEqual([policy.status, policy.body.error.code], [400, 'policy_not_reward']);
    const unknown = await request('/v1/rewards/rwd_none');
    assert.deepEqual([unknown.status, unknown.body.error.code], [404, 'reward_not_found']);
  });
}

/** Only its row: no request that names it may need its package. */
async function registerReward({ server }: Api): Promise<string> {
  const id = newId('rwd_');
  const manifest = makeManifest({ id, kind: 'reward', parent: server.policyId });
  await registerPolicy(server.connection.db, {
    id,
    kind: 'reward',
    name: 'test',
    parent_id: server.policyId,
    manifest,
  });
  return id;
}
