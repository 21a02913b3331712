import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findTensorflowSkipReason } from '../../testing/tensorflow-addon.ts';
import { needsTensorflow, resolveEngine } from './select-device.ts';

const skip = await findTensorflowSkipReason();

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

test('without TensorFlow’s library ENGINE=auto selects onnx, and ENGINE=tensorflow is rejected with the install command', async () => {
  await withoutAddon(async () => {
    assert.equal(needsTensorflow('auto'), false);
    const { name, reason } = await resolveEngine('auto');
    assert.equal(name, 'onnx');
    assert.match(reason, /not installed/);
    await assert.rejects(resolveEngine('tensorflow'), /npx attune tensorflow install/);
  });
});

test('ENGINE selects the engine if it is set, and the reason names it', { skip }, async () => {
  assert.deepEqual((await resolveEngine('tensorflow')).name, 'tensorflow');
  assert.match((await resolveEngine('tensorflow')).reason, /ENGINE is tensorflow; it computes on the (C|G)PU/);
  assert.equal((await resolveEngine('onnx')).name, 'onnx');
  assert.equal(needsTensorflow('onnx'), false);
});
