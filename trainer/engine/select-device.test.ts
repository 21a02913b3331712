import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonToSkip } from '../../testing/tensorflow-addon.ts';
import { explainEngine, wantsTensorflow } from './select-device.ts';

const skip = await reasonToSkip();

async function withoutAddon(work: () => Promise<void>): Promise<void> {
  const { XDG_CACHE_HOME } = process.env;
  process.env.XDG_CACHE_HOME = '/nowhere';
  try {
    await work();
  } finally {
    if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
  }
}

test('without TensorFlow’s library onnx trains, and asking for TensorFlow is refused with the command', async () => {
  await withoutAddon(async () => {
    assert.equal(wantsTensorflow('auto'), false);
    const { name, reason } = await explainEngine('auto');
    assert.equal(name, 'onnx');
    assert.match(reason, /not installed/);
    await assert.rejects(explainEngine('tensorflow'), /npx attune tensorflow install/);
  });
});

test('ENGINE decides where it is set, and the reason says so', { skip }, async () => {
  assert.deepEqual((await explainEngine('tensorflow')).name, 'tensorflow');
  assert.match((await explainEngine('tensorflow')).reason, /ENGINE is tensorflow; it computes on the (C|G)PU/);
  assert.equal((await explainEngine('onnx')).name, 'onnx');
  assert.equal(wantsTensorflow('onnx'), false);
});
