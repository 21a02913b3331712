import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { chooseMicroBatchTokens, estimateParameters, estimateStages } from './memory-estimate.ts';

const GiB = 2 ** 30;
const architecture = tinyArchitecture({
  layers: 30,
  hiddenSize: 576,
  intermediateSize: 1536,
  heads: 9,
  kvHeads: 3,
  vocabSize: 49152,
});

test('a smaller budget gives smaller micro-batches, and too small a budget is rejected with the amount needed and a remedy', () => {
  const tokens = [16, 6, 5, 4.2].map((memory) => chooseMicroBatchTokens({ architecture }, memory * GiB));
  assert.deepEqual(
    tokens,
    tokens.toSorted((a, b) => b - a),
  );
  assert.ok(tokens[0]! > tokens.at(-1)!, `${tokens}`);
  assert.throws(
    () => chooseMicroBatchTokens({ architecture }, 2 * GiB),
    (error) =>
      error instanceof AttuneError &&
      /^trainer: training this policy needs about \d\.\d GiB, but its limit is 2\.0 GiB \(TRAIN_MEMORY; default: half of free memory\); set LORA_RANK/.test(
        error.message,
      ),
  );
});

test('training adapters needs much less memory than training all weights', () => {
  const lora = { rank: 8, alpha: 16, targets: ['q_proj', 'v_proj'] };
  assert.ok(estimateParameters({ architecture, lora }) < 0.5 * estimateParameters({ architecture }));
  assert.doesNotThrow(() => chooseMicroBatchTokens({ architecture, lora }, 2.5 * GiB));
});

test('scoring needs much less memory, and a pair that is too long is rejected before training starts', () => {
  assert.throws(() => chooseMicroBatchTokens({ architecture }, 3 * GiB), /its limit is 3\.0 GiB/);
  assert.doesNotThrow(() => chooseMicroBatchTokens({ architecture, scoreOnly: true }, 3 * GiB));
  assert.doesNotThrow(() => chooseMicroBatchTokens({ architecture, maxSequenceTokens: 512 }, 8 * GiB));
  assert.throws(() => chooseMicroBatchTokens({ architecture, maxSequenceTokens: 4096 }, 8 * GiB), /MAX_LENGTH/);
});

test('a reward is planned without logits and samples, and sampling needs more than training adapters', () => {
  const shapes = { step: [{ S: 2, T: 64, R: 100 }], forward: [{ S: 2, T: 64, R: 100 }] };
  const plan = { shapes, reward: null, sampling: [{ rows: 16, maxTokens: 64 }] };
  const lora = { rank: 8, alpha: 16, targets: ['q_proj', 'v_proj'] };
  const policy = estimateStages({ architecture, lora }, plan);
  assert.ok(policy.sampling! > policy.training!);
  const reward = estimateStages({ architecture: { ...architecture, output: 'reward' }, lora }, plan);
  assert.deepEqual(Object.keys(reward), ['training', 'publishing']);
  assert.ok(reward.training! < policy.training!);
});

test('scoring for a distillation counts a reward that is larger than the policy', () => {
  const shapes = { step: [], forward: [{ S: 2, T: 64, R: 100 }] };
  const larger = { architecture: { ...architecture, layers: 60, output: 'reward' as const } };
  const [without, within] = [null, larger].map((reward) =>
    estimateStages({ architecture }, { shapes, reward, sampling: [] }),
  );
  assert.ok(within!.scoring! > without!.scoring!);
});
