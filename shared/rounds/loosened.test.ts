import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings } from '../settings.ts';
import { findLoosened } from './loosened.ts';
import type { RoundRequest } from './settings.ts';

const settings = readSettings({ GATE_KL: '20', MAX_LENGTH: '512', MAX_STALENESS: '3', CONTRADICTIONS: 'weigh' });
const list = (request: RoundRequest) => findLoosened('dil', request, settings).map(({ name }) => name);

test('a request that repeats the settings or is stricter loosens nothing', () => {
  for (const request of [
    {},
    { gate_kl: 20, beta: 0.1, objective: 'bce' },
    { gate_kl: 5, gate_chosen_drop: 0.1, gate_length: 1.1, gate_repetition: 0 },
    { beta: 0.5, learning_rate: 1e-6, effort: 0.5 },
    { max_staleness: 1, contradictions: 'drop', min_agreement: 0.9, max_similarity: 0.5, max_length: 1024 },
    { seed: 3, batch_pairs: 16, warm_up: 0.2 },
  ] as RoundRequest[])
    assert.deepEqual(list(request), [], JSON.stringify(request));
});

test('wider bounds of the gate, another objective and a farther training are looser', () => {
  const looser: RoundRequest = {
    gate_kl: 20.1,
    lora_rank: 8,
    lora_alpha: 1e6,
    max_grad_norm: 1e9,
    batch_pairs: 1,
    warm_up: 0,
    gate_chosen_drop: 1,
    gate_length: 2,
    gate_repetition: 0.2,
    objective: 'ukl',
    negatives: 'both',
    reference: 'parent',
    weighting: 'importance',
    beta: 0.05,
    learning_rate: 1e-3,
    epochs: 2,
    effort: 3,
    max_length: 16,
    max_prompt_length: 16,
    max_staleness: null,
    contradictions: 'keep',
  };
  for (const [name, value] of Object.entries(looser)) assert.equal(list({ [name]: value })[0], name);
  assert.deepEqual(findLoosened('dil', { gate_kl: 50 }, settings), [
    { name: 'gate_kl', requested: 50, configured: 20 },
  ]);
});

test('what follows from a field is found too: a preset, a larger effort, the β of another reduction', () => {
  assert.deepEqual(list({ preset: 'paper' }), ['objective', 'reduction']);
  assert.deepEqual(list({ effort: 4 }), ['effort', 'epochs']);
  assert.deepEqual(list({ reduction: 'mean' }), ['reduction']);
});

test('of a reward its own settings count', () => {
  const listReward = (request: RoundRequest) => findLoosened('reward', request, settings).map(({ name }) => name);
  assert.deepEqual(listReward({ reward_loss: 'density_ratio' }), ['reward_loss']);
  assert.deepEqual(listReward({ reward_learning_rate: 1e-5 }), []);
  assert.deepEqual(listReward({ reward_learning_rate: 0.01 }), ['reward_learning_rate']);
});
