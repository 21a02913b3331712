import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Tensor } from 'onnxruntime-node';
import { makePrompt, openDecoder } from '../../testing/engine.ts';
import { makeTempFolder, writeStoriesPackage } from '../../testing/policy-package.ts';
import { readCheckpoint } from '../model/checkpoint.ts';
import { kvBytesPerPosition } from '../onnx/kv-format.ts';
import { PRECISIONS } from '../onnx/precision/precisions.ts';
import { SERVE_GRAPH, writeServingGraph } from '../onnx/write-graphs.ts';
import { PRECISION_NAMES, type PrecisionName } from '../precision-name.ts';
import { Decoder } from './decoder.ts';
import { allocatedLengthFor } from './kv-cache.ts';
import { openSession } from './session.ts';

const root = await makeTempFolder();
after(root.remove);

const decoders = new Map<PrecisionName, Decoder>();
for (const precision of PRECISION_NAMES) {
  const path = join(root.path, precision);
  await writeStoriesPackage(path, precision);
  const decoder = await openDecoder(path, {}, 2);
  after(() => decoder.release());
  decoders.set(precision, decoder);
}

const TOKENS = makePrompt(150, 3);

/** The logits after TOKENS: the first 100 at once, and the rest in chunks of `steps`. */
async function compute(decoder: Decoder, steps: number): Promise<Float32Array> {
  const cache = decoder.createCache();
  cache.addRow();
  let { logits } = await decoder.forward(cache, [TOKENS.slice(0, 100)]);
  for (let at = 100; at < TOKENS.length; at += steps)
    logits = (await decoder.forward(cache, [TOKENS.slice(at, at + steps)])).logits.slice();
  return logits;
}

function distance(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0));
}

for (const precision of PRECISION_NAMES) {
  test(`${precision}: decoding over a cache, and a chunk over it, are as accurate as computing all at once`, async () => {
    const exact = await compute(decoders.get('fp32')!, TOKENS.length);
    const decoder = decoders.get(precision)!;
    const atOnce = distance(await compute(decoder, 50), exact);
    const norm = distance(exact, new Float32Array(exact.length));
    for (const steps of [1, 10]) {
      const error = distance(await compute(decoder, steps), exact);
      assert.ok(error < 1.5 * atOnce + 1e-5 * norm, `in steps of ${steps}: ${error}, at once: ${atOnce}`);
    }
  });
}

test('an older package, whose row8 has float32 keys and values, is served as it is', async () => {
  const path = join(root.path, 'row8');
  const { architecture, weights } = await readCheckpoint(path);
  const older = join(root.path, 'older', 'onnx');
  await writeServingGraph(older, architecture, weights, { ...PRECISIONS.row8, kvFormat: 'float32' });
  const decoder = new Decoder(await openSession(join(older, SERVE_GRAPH), 2), Tensor, architecture);
  after(() => decoder.release());
  assert.equal(decoder.kvBytesPerPosition, decoders.get('fp32')!.kvBytesPerPosition);
  const exact = await compute(decoders.get('fp32')!, 1);
  const error = distance(await compute(decoder, 1), exact);
  const newError = distance(await compute(decoders.get('row8')!, 1), exact);
  assert.ok(error < 1.5 * newError, `${error} from float32, ${newError} with integer keys and values`);
});

test('keys and values of row8 take little more than a quarter of the memory of float32', () => {
  const { architecture, kvBytesPerPosition } = decoders.get('row8')!;
  const { headDim } = architecture;
  assert.equal(kvBytesPerPosition, (decoders.get('fp32')!.kvBytesPerPosition * (headDim + 4)) / (4 * headDim));
});

test('the default memory holds 64 sequences of 1,024 tokens of a policy with 135 million parameters', () => {
  const shape = { layers: 30, kvHeads: 3, headDim: 64 };
  assert.ok(64 * allocatedLengthFor(1024) * kvBytesPerPosition(shape, PRECISIONS.row8.kvFormat) < 2 ** 30);
});
