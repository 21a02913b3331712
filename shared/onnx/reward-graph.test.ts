import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { GOLDEN_CASES } from '../../testing/golden.ts';
import { makeTempFolder } from '../../testing/policy-package.ts';
import { referenceReward } from '../../testing/reference-decoder.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { makeTokens } from '../../testing/training.ts';
import { REWARD_GRAPH, writeRewardGraph } from './write-graphs.ts';

const root = await makeTempFolder();
after(root.remove);

const ROWS = [makeTokens(1, 12), makeTokens(2, 5), makeTokens(3, 1)];

const int64 = (rows: number[][]) =>
  new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length]);

/** The rewards of rows of different lengths, padded with the token `padding`. */
async function runReward(session: InferenceSession, rows: number[][], padding: number): Promise<number[]> {
  const length = Math.max(...rows.map((row) => row.length));
  const padded = rows.map((row) => [...row, ...Array<number>(length - row.length).fill(padding)]);
  const { rewards } = await session.run({
    input_ids: int64(padded),
    position_ids: int64(padded.map((row) => [...row.keys()])),
    last_index: int64(rows.map((row) => [row.length - 1])),
  });
  assert.deepEqual(rewards!.dims, [rows.length]);
  return [...(rewards!.data as Float32Array)];
}

for (const [name, options] of Object.entries(GOLDEN_CASES)) {
  test(`${name}: rewards of padded rows equal those of the double-precision reference`, async () => {
    const architecture = tinyArchitecture({ ...options, variant: { ...options.variant, output: 'reward' } });
    const weights = tinyWeights(architecture, 3);
    const folder = join(root.path, name);
    await writeRewardGraph(folder, architecture, weights);
    const session = await InferenceSession.create(join(folder, 'onnx', REWARD_GRAPH), { intraOpNumThreads: 1 });
    try {
      const together = await runReward(session, ROWS, 0);
      for (const [i, row] of ROWS.entries()) {
        const expected = referenceReward(architecture, weights, row);
        assert.ok(Math.abs(together[i]! - expected) < 1e-4, `row ${i}: ${together[i]} is not ${expected}`);
      }
      // Whatever is behind the last token of a row changes nothing.
      assert.deepEqual(await runReward(session, ROWS, 7), together);
    } finally {
      await session.release();
    }
  });
}
