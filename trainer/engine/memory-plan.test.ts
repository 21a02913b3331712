// What an engine really holds, against the plan that chooses the size of its micro-batches and refuses a policy.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { MemoryCase, MemoryResult } from '../../testing/measure-memory.ts';
import { findAddon } from './devices/tensorflow/addon.ts';

const script = fileURLToPath(new URL('../../testing/measure-memory.ts', import.meta.url));
const isLinux = process.platform === 'linux';

async function measure(options: MemoryCase): Promise<MemoryResult> {
  const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(options)]);
  return JSON.parse(stdout.trim().split('\n').at(-1)!);
}

const cases: MemoryCase[] = [
  { purpose: 'train', engine: 'onnx', loraRank: 0, pairs: 2 },
  { purpose: 'train', engine: 'onnx', loraRank: 0, pairs: 10 },
  { purpose: 'train', engine: 'onnx', loraRank: 8, pairs: 10 },
  { purpose: 'score', engine: 'onnx', loraRank: 0, pairs: 10 },
  { purpose: 'train', engine: 'tensorflow', loraRank: 0, pairs: 10 },
];

for (const options of cases) {
  const { purpose, engine, loraRank, pairs } = options;
  const skip = !isLinux
    ? 'reads /proc'
    : engine === 'tensorflow' && !findAddon() && 'run: npx attune tensorflow install';
  const what = `${engine} to ${purpose} ${loraRank > 0 ? 'adapters' : 'all weights'} on ${pairs} pairs`;
  // The allocator keeps freed pages, and kernels of other processors have other buffers: a quarter either way.
  test(`the memory of ${what} is within a quarter of the plan`, { skip }, async () => {
    const { peakBytes, plannedBytes } = await measure(options);
    const MiB = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
    const ratio = peakBytes / plannedBytes;
    assert.ok(ratio > 0.75 && ratio < 1.25, `${MiB(peakBytes)} at the peak, ${MiB(plannedBytes)} planned`);
  });
}
