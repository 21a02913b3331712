// A reward's worker thread: loads its graph, and computes batches until the main thread ends it.
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { openSession } from '../../shared/decoder/session.ts';
import { getErrorMessage } from '../../shared/error.ts';
import type { RewardMessage, RewardRequest, RewardWorkerOptions } from './reward-protocol.ts';
import { NICENESS } from './worker-protocol.ts';

const port = parentPort!;
const { folder, threads } = workerData as RewardWorkerOptions;

// ONNX Runtime's threads inherit it.
if (process.platform === 'linux') setPriority(NICENESS);

let session: InferenceSession | undefined;
await reply(async () => {
  session = await openSession(join(folder, 'onnx', 'reward.onnx'), threads);
  await computeRewards(session, [[0], [0, 0]]);
  return { type: 'ready' };
});
port.on('message', async (rows: RewardRequest) => {
  if (rows) return reply(async () => ({ type: 'rewards', rewards: await computeRewards(session!, rows) }));
  await session?.release();
  port.close();
});

async function reply(work: () => Promise<RewardMessage>): Promise<void> {
  port.postMessage(await work().catch((error): RewardMessage => ({ type: 'failed', reason: getErrorMessage(error) })));
}

/** Rows of token ids → r(x, y) at the last token of each; shorter rows are padded behind it. */
async function computeRewards(graph: InferenceSession, rows: number[][]): Promise<number[]> {
  const length = Math.max(...rows.map((row) => row.length));
  const toTensor = (columns: number, getValue: (row: number[], at: number) => number) => {
    const values = rows.flatMap((row) => Array.from({ length: columns }, (_, at) => BigInt(getValue(row, at))));
    return new Tensor('int64', BigInt64Array.from(values), [rows.length, columns]);
  };
  const { rewards } = await graph.run({
    input_ids: toTensor(length, (row, at) => row[at] ?? 0),
    position_ids: toTensor(length, (_, at) => at),
    last_index: toTensor(1, (row) => row.length - 1),
  });
  const values = Array.from(rewards!.data as Float32Array);
  if (!values.every(Number.isFinite)) throw new Error('its rewards are not finite');
  return values;
}
