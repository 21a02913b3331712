import assert from 'node:assert/strict';
import { test } from 'node:test';
import { referenceLogps } from '../../../../testing/reference-decoder.ts';
import { tinyArchitecture, tinyWeights } from '../../../../testing/tiny-checkpoint.ts';
import { zeroGradients } from '../../../../testing/training.ts';
import { parseObjective } from '../../../objectives.ts';
import { type InputArrays, packSequences } from '../../batch.ts';
import { CpuSessions } from './cpu-sessions.ts';

const architecture = tinyArchitecture({ contextLength: 600 });
const weights = tinyWeights(architecture, 2);
const ids = (first: number, length: number) => Array.from({ length }, (_, i) => (first + 7 * i) % 200);

test('one session serves batches of every shape, and longer rows replace it', async () => {
  const sessions = new CpuSessions({ architecture, objective: parseObjective({}), threads: 2 });
  for (const length of [3, 40, 300, 5]) {
    const sequence = { promptIds: ids(1, 4), responseIds: ids(5, length) };
    const { bucket, arrays } = packSequences([sequence], { reduction: 'sum' });
    const outputs = await sessions.run('score', bucket, new Map([...weights, ...arrays]));
    const expected = referenceLogps(architecture, weights, sequence.promptIds, sequence.responseIds);
    assert.equal(outputs.get('logps')!.length, length);
    for (const [j, logp] of outputs.get('logps')!.entries())
      assert.ok(Math.abs(logp - expected[j]!) < 1e-4, `${length}: ${j}`);
  }
  await sessions.close();
});

test('if two sessions exceed the memory, the older one is released and opened again when it is needed', async () => {
  const sequences = [1, 9].map((first) => ({ promptIds: ids(first, 4), responseIds: ids(first + 2, 6) }));
  const { bucket, arrays } = packSequences(sequences, { reduction: 'sum' });
  const inputs: InputArrays = new Map([...weights, ...zeroGradients(weights), ...arrays])
    .set('refLogps', { shape: [12], data: new Float32Array(12).fill(-5) })
    .set('importance', { shape: [2], data: Float32Array.of(1, 1) })
    .set('rewardMargins', { shape: [1], data: new Float32Array(1) })
    .set('pairWeights', { shape: [1], data: Float32Array.of(1) });
  const results: Float32Array[] = [];
  for (const memoryBytes of [undefined, 1]) {
    const sessions = new CpuSessions({ architecture, objective: parseObjective({}), threads: 2, memoryBytes });
    for (const kind of ['score', 'evaluate', 'score', 'step', 'score'] as const)
      results.push((await sessions.run(kind, bucket, inputs)).get('logps')!);
    await sessions.close();
  }
  for (const logps of results) assert.deepEqual(logps, results[0]);
});
