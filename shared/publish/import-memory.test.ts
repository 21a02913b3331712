// What an import reads and writes passes through memory tensor by tensor, whatever the size of the checkpoint.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { writeGguf } from '../../testing/gguf-writer.ts';
import { tinyArchitecture, writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { weightShapes } from '../model/architecture.ts';
import { writeCheckpoint } from '../model/checkpoint.ts';
import { elementCount, type LazyWeights } from '../model/tensor.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-import-memory-'));
after(() => rm(root, { recursive: true, force: true }));
const script = fileURLToPath(new URL('../../testing/measure-import.ts', import.meta.url));

const architecture = tinyArchitecture({
  layers: 12,
  hiddenSize: 512,
  intermediateSize: 2048,
  heads: 8,
  kvHeads: 8,
  vocabSize: 8192,
});
const shapes = weightShapes(architecture);
const sizes = Array.from(shapes, ([name, shape]) => ({ name, bytes: 4 * elementCount(shape) }));
const sumBytes = (selected: typeof sizes) => selected.reduce((sum, { bytes }) => sum + bytes, 0);
/** Twice the largest tensor, and one layer. */
const STREAMED =
  2 * Math.max(...sizes.map(({ bytes }) => bytes)) + sumBytes(sizes.filter(({ name }) => /\.0\./.test(name)));
/** What was read stays until it is collected, and code and buffers need some. */
const OVERHEAD = 80 * 2 ** 20;

const weights: LazyWeights = new Map(
  Array.from(shapes, ([name, shape]) => {
    const read = async () => new Float32Array(elementCount(shape)).fill(shape.length === 1 ? 1 : 0.01);
    return [name, { shape, read }];
  }),
);

async function measure(source: string, precision: string): Promise<number> {
  const folder = join(root, precision);
  const { stdout } = await promisify(execFile)(process.execPath, [script, source, folder, precision]);
  await rm(folder, { recursive: true });
  return Number(stdout);
}

test('importing needs about twice the largest tensor and a layer, from both formats', async () => {
  const folder = join(root, 'checkpoint');
  await writeTinyCheckpoint(folder);
  await writeCheckpoint(folder, { architecture, weights });
  const file = join(root, 'model.gguf');
  await writeGguf(file, architecture, weights, { type: 'Q8_0' });
  // Otherwise a whole checkpoint in memory would pass.
  assert.ok(sumBytes(sizes) > 1.5 * (STREAMED + OVERHEAD));
  const peaks = [];
  for (const precision of ['row8', 'int4']) peaks.push(await measure(folder, precision));
  peaks.push(await measure(file, 'int8'));
  for (const peak of peaks)
    assert.ok(peak < STREAMED + OVERHEAD, `${peaks} bytes; expected below ${STREAMED + OVERHEAD}`);
});
