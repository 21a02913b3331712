import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainLogps } from '../../../../testing/reference-decoder.ts';
import { tinyArchitecture, tinyWeights } from '../../../../testing/tiny-checkpoint.ts';
import { readObjective } from '../../../objectives.ts';
import { type Arrays, packSequences } from '../../batch.ts';
import { emptyGradient } from '../../programs.ts';
import { Sessions } from './cpu-sessions.ts';

const architecture = tinyArchitecture({ contextLength: 600 });
const weights = tinyWeights(architecture, 2);
const ids = (first: number, length: number) => Array.from({ length }, (_, i) => (first + 7 * i) % 200);

test('one session serves batches of every shape, and a longer one those that are longer', async () => {
  const sessions = new Sessions({ architecture, objective: readObjective({}), threads: 2 });
  for (const length of [3, 40, 300, 5]) {
    const sequence = { promptIds: ids(1, 4), responseIds: ids(5, length) };
    const { bucket, arrays } = packSequences([sequence], { reduction: 'sum' });
    const outputs = await sessions.run('score', bucket, new Map([...weights, ...arrays]));
    const expected = plainLogps(architecture, weights, sequence.promptIds, sequence.responseIds);
    assert.equal(outputs.get('logps')!.length, length);
    for (const [j, logp] of outputs.get('logps')!.entries())
      assert.ok(Math.abs(logp - expected[j]!) < 1e-4, `${length}: ${j}`);
  }
  await sessions.close();
});

test('where there is no room for two sessions, the older one is given up and made anew when it is needed', async () => {
  const sequences = [1, 9].map((first) => ({ promptIds: ids(first, 4), responseIds: ids(first + 2, 6) }));
  const { bucket, arrays } = packSequences(sequences, { reduction: 'sum' });
  const inputs: Arrays = new Map([...weights, ...emptyGradient(weights), ...arrays])
    .set('refs', { shape: [12], data: new Float32Array(12).fill(-5) })
    .set('importance', { shape: [2], data: Float32Array.of(1, 1) })
    .set('shares', { shape: [1], data: Float32Array.of(1) });
  const results: Float32Array[] = [];
  for (const memory of [undefined, 1]) {
    const sessions = new Sessions({ architecture, objective: readObjective({}), threads: 2, memory });
    for (const kind of ['score', 'evaluate', 'score', 'step', 'score'] as const)
      results.push((await sessions.run(kind, bucket, inputs)).get('logps')!);
    await sessions.close();
  }
  for (const logps of results) assert.deepEqual(logps, results[0]);
});
