// A complete training round on TensorFlow, up to serving its policy.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEdgeServer } from '../testing/edge-server.ts';
import { findTensorflowSkipReason } from '../testing/tensorflow-addon.ts';
import { trainOnce } from '../trainer/main.ts';

const skip = await findTensorflowSkipReason();

test('a round on TensorFlow publishes a better policy that the API serves', { skip }, async () => {
  const server = await startEdgeServer({ ENGINE: 'tensorflow', LEARNING_RATE: '0.003', TRAIN_THREADS: '1' });
  for (let at = 0; at < 30; at++) {
    const json = { prompt: `Round ${at}:`, chosen: ' yes yes', rejected: ' no no', rater: 'test' };
    assert.equal((await server.request('/v1/preferences', { json })).status, 200);
  }
  const notes: string[] = [];
  const round = await trainOnce(server.settings, server.databaseUrl, (_, { note }) => notes.push(note));
  assert.equal(round.status, 'succeeded', round.reason ?? '');
  assert.match(round.policy_id ?? '', /^pol_/);
  assert.ok(notes.some((note) => /by tensorflow/.test(note)));
  const metrics = round.metrics as Record<string, number>;
  assert.ok(metrics.loss! < metrics['parent/loss']!);
  const json = { model: round.policy_id, prompt: 'Round 1:', max_tokens: 4 };
  const { status, body } = await server.request('/v1/completions', { json });
  assert.equal(status, 200);
  assert.equal(body.model, round.policy_id);
});
