import assert from 'node:assert/strict';
import { platform } from 'node:process';
import { test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { describeProvider, hasCuda } from './execution-provider.ts';
import { openEngine } from './open-engine.ts';
import { explainEngine, wantsTensorflow } from './select-device.ts';

// No driver is found here, whatever the machine has.
process.env.VK_DRIVER_FILES = '/nowhere.json';
process.env.VK_ICD_FILENAMES = '/nowhere.json';

const refusal = (pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof AttuneError);
  assert.match(error.message, /^settings: TRAIN_PROVIDER: /);
  assert.match(error.message, pattern);
  return true;
};

test('the CPU is always there, and is said with what else there is', async () => {
  assert.match(await describeProvider({ TRAIN_PROVIDER: 'cpu' }), /^TRAIN_PROVIDER is cpu; webgpu/);
});

test('webgpu without a driver is refused with what brings one', async (t) => {
  if (platform !== 'linux') return t.skip('only on Linux can a test hide the GPU');
  const expected = refusal(/No supported adapters; install a driver.*mesa-vulkan-drivers/);
  await assert.rejects(describeProvider({ TRAIN_PROVIDER: 'webgpu' }), expected);
});

test('cuda where it was not installed is refused with the command that installs it, from the engine too', async (t) => {
  if (hasCuda()) return t.skip('onnxruntime-node has its CUDA libraries here; npm ci takes them out');
  const expected = refusal(
    /`node node_modules\/onnxruntime-node\/script\/install\.js --onnxruntime-node-install=cuda12`/,
  );
  await assert.rejects(describeProvider({ TRAIN_PROVIDER: 'cuda' }), expected);
  const architecture = tinyArchitecture({ layers: 1 });
  const weights = tinyWeights(architecture);
  await assert.rejects(openEngine({ architecture, weights, objective: {}, provider: 'cuda' }), expected);
});

test('who names a provider gets the ONNX engine, unless TensorFlow is named too', async () => {
  assert.equal(wantsTensorflow('auto', 'webgpu'), false);
  assert.equal(wantsTensorflow('tensorflow', 'webgpu'), true);
  assert.deepEqual(await explainEngine('auto', 'webgpu'), {
    name: 'onnx',
    reason: 'ENGINE is auto and TRAIN_PROVIDER is webgpu, which is this one’s',
  });
});
