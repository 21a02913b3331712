import assert from 'node:assert/strict';
import { platform } from 'node:process';
import { test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import { readSettings } from '../../shared/settings.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { describeProvider } from './execution-provider.ts';
import { openEngine } from './open-engine.ts';
import { needsTensorflow, resolveEngine } from './select-device.ts';

// Hides the drivers that this machine may have.
process.env.VK_DRIVER_FILES = '/nowhere.json';
process.env.VK_ICD_FILENAMES = '/nowhere.json';

function isMissingDriver(error: unknown): true {
  assert.ok(error instanceof AttuneError);
  assert.match(
    error.message,
    /^settings: TRAIN_PROVIDER: .*No supported adapters; install a driver.*mesa-vulkan-drivers/,
  );
  return true;
}

test('the CPU is always available, and the description names the alternative', async () => {
  assert.match(await describeProvider({ TRAIN_PROVIDER: 'cpu' }), /^TRAIN_PROVIDER is cpu; webgpu/);
});

test('webgpu without a driver is rejected with installation advice, also when an engine is opened', async (t) => {
  if (platform !== 'linux') return t.skip('the GPU can be hidden on Linux only');
  await assert.rejects(describeProvider({ TRAIN_PROVIDER: 'webgpu' }), isMissingDriver);
  const architecture = tinyArchitecture({ layers: 1 });
  const weights = tinyWeights(architecture);
  await assert.rejects(openEngine({ architecture, weights, objective: {}, provider: 'webgpu' }), isMissingDriver);
});

test('a provider other than cpu and webgpu is rejected with the allowed values', () => {
  assert.throws(() => readSettings({ TRAIN_PROVIDER: 'cuda' }), /TRAIN_PROVIDER.*"cpu".*"webgpu"/s);
});

test('a provider other than cpu selects the onnx engine, unless ENGINE is tensorflow', async () => {
  assert.equal(needsTensorflow('auto', 'webgpu'), false);
  assert.equal(needsTensorflow('tensorflow', 'webgpu'), true);
  assert.deepEqual(await resolveEngine('auto', 'webgpu'), {
    name: 'onnx',
    reason: 'ENGINE is auto and TRAIN_PROVIDER=webgpu is a provider of the onnx engine',
  });
});
