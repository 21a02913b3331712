// Compares an exported package with the trainer before it is published: a policy's graphs must give the trainer's logits on
// real sequences, a reward's its rewards, finite and with a relative error below 1e-4.

import path from 'node:path';
import * as ort from 'onnxruntime-node';
import type { Architecture } from '../../shared/model/architecture.ts';
import { REWARD_GRAPH } from '../../shared/onnx/write-graphs.ts';
import type { Engine, Sequence } from '../engine/engine.ts';

const MAX_RELATIVE_ERROR = 1e-4;

/** The sequences are padded to one batch. */
export async function verifyReward(folder: string, engine: Engine, sequences: Sequence[]): Promise<void> {
  const expected = (await engine.score(sequences)).map(([reward]) => reward!);
  const session = await openGraph(folder, REWARD_GRAPH);
  try {
    const rows = sequences.map(({ promptIds, responseIds }) => [...promptIds, ...responseIds]);
    compare(REWARD_GRAPH, 'rewards', await runReward(session, rows), Float32Array.from(expected));
  } finally {
    await session.release();
  }
}

/** @param samples token ids of whole sequences, prompt and response */
export async function verifyExport(
  folder: string,
  architecture: Architecture,
  engine: Engine,
  samples: number[][],
): Promise<void> {
  // One graph in memory at a time.
  for (const { name, run, positions } of GRAPHS) {
    const session = await openGraph(folder, name);
    try {
      for (const sample of samples) {
        // The last token of a sequence is a target only, so a sequence may be one token longer than the context.
        const ids = sample.slice(0, architecture.contextLength);
        // [T, V]
        const expected = await engine.logits(ids);
        const compared = positions === 'all' ? expected : expected.slice(-architecture.vocabSize);
        compare(name, 'logits', await run(session, architecture, ids), compared);
      }
    } finally {
      await session.release();
    }
  }
}

/** The serving graph has the logits [V] of the last position only. */
const GRAPHS = [
  { name: 'model.onnx', run: runModel, positions: 'all' },
  { name: 'serve.onnx', run: runServe, positions: 'last' },
] as const;

function openGraph(folder: string, name: string): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(path.join(folder, 'onnx', name), { intraOpNumThreads: 1 });
}

function compare(graph: string, output: string, actual: Float32Array, expected: Float32Array): void {
  let difference = 0;
  let size = 0;
  if (actual.length !== expected.length)
    throw new Error(
      `internal: verify export: ${graph} returned ${actual.length} ${output}, expected ${expected.length}`,
    );
  for (let at = 0; at < expected.length; at++) {
    difference += (actual[at]! - expected[at]!) ** 2;
    size += expected[at]! ** 2;
  }
  // A reward that was not trained is 0 everywhere.
  const relative = difference === 0 ? 0 : Math.sqrt(difference / size);
  if (!(relative < MAX_RELATIVE_ERROR))
    throw new Error(
      `internal: verify export: the ${output} of ${graph} have a relative error of ${relative.toExponential(2)}; nothing was published`,
    );
}

const int64 = (values: number[], dims: number[]) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims);

function commonFeeds({ layers, kvHeads, headDim }: Architecture, ids: number[], past: [string, string]) {
  const feeds: Record<string, ort.Tensor> = {
    input_ids: int64(ids, [1, ids.length]),
    position_ids: int64([...ids.keys()], [1, ids.length]),
  };
  for (let layer = 0; layer < layers; layer++)
    for (const name of past)
      feeds[name.replace('N', String(layer))] = new ort.Tensor('float32', new Float32Array(0), [
        1,
        kvHeads,
        0,
        headDim,
      ]);
  return feeds;
}

async function runModel(
  session: ort.InferenceSession,
  architecture: Architecture,
  ids: number[],
): Promise<Float32Array> {
  const feeds = commonFeeds(architecture, ids, ['past_key_values.N.key', 'past_key_values.N.value']);
  feeds.attention_mask = int64(
    ids.map(() => 1),
    [1, ids.length],
  );
  const { logits } = await session.run(feeds, ['logits']);
  return logits!.data as Float32Array;
}

async function runServe(
  session: ort.InferenceSession,
  architecture: Architecture,
  ids: number[],
): Promise<Float32Array> {
  const feeds = commonFeeds(architecture, ids, ['past_key.N', 'past_value.N']);
  feeds.past_length = int64([0], [1]);
  feeds.last_index = int64([ids.length - 1], [1, 1]);
  const { logits } = await session.run(feeds, ['logits']);
  return logits!.data as Float32Array;
}

async function runReward(session: ort.InferenceSession, rows: number[][]): Promise<Float32Array> {
  const length = Math.max(...rows.map((row) => row.length));
  const padded = rows.flatMap((row) => [...row, ...Array<number>(length - row.length).fill(0)]);
  const dims = [rows.length, length];
  const { rewards } = await session.run({
    input_ids: int64(padded, dims),
    position_ids: int64(
      padded.map((_, at) => at % length),
      dims,
    ),
    last_index: int64(
      rows.map((row) => row.length - 1),
      [rows.length, 1],
    ),
  });
  return rewards!.data as Float32Array;
}
