import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { chooseMicroBatch, estimateParameters } from './memory-estimate.ts';

const GiB = 2 ** 30;
const architecture = tinyArchitecture({
  layers: 30,
  hiddenSize: 576,
  intermediateSize: 1536,
  heads: 9,
  kvHeads: 3,
  vocabSize: 49152,
});

test('a smaller budget makes smaller micro-batches, down to a refusal that says what is needed and what to change', () => {
  const chosen = [16, 6, 5, 4.2].map((memory) => chooseMicroBatch({ architecture }, memory * GiB));
  assert.deepEqual(
    chosen,
    chosen.toSorted((a, b) => b - a),
  );
  assert.ok(chosen[0]! > chosen.at(-1)!, `${chosen}`);
  assert.throws(
    () => chooseMicroBatch({ architecture }, 2 * GiB),
    (error) =>
      error instanceof AttuneError &&
      /^trainer: training this policy needs about \d\.\d GiB, and 2\.0 GiB may be taken \(TRAIN_MEMORY, or half of what is free\); set LORA_RANK/.test(
        error.message,
      ),
  );
});

test('adapters take much less than all weights', () => {
  const lora = { rank: 8, alpha: 16, targets: ['q_proj', 'v_proj'] };
  assert.ok(estimateParameters({ architecture, lora }) < 0.5 * estimateParameters({ architecture }));
  assert.doesNotThrow(() => chooseMicroBatch({ architecture, lora }, 2.5 * GiB));
});

test('what only scores needs much less, and a pair that is too long is refused before anything has begun', () => {
  assert.throws(() => chooseMicroBatch({ architecture }, 3 * GiB), /3\.0 GiB may be taken/);
  assert.doesNotThrow(() => chooseMicroBatch({ architecture, scoreOnly: true }, 3 * GiB));
  assert.doesNotThrow(() => chooseMicroBatch({ architecture, longest: 512 }, 8 * GiB));
  assert.throws(() => chooseMicroBatch({ architecture, longest: 4096 }, 8 * GiB), /MAX_LENGTH/);
});
