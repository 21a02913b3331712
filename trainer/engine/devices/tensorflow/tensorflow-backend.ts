// TensorFlow as a tfjs backend. The entry point of tfjs-node-gpu only finds an addon in its own folder, so this
// registers its kernels with the addon in the user's cache, on the same tfjs-core that all other code uses.
import { createRequire } from 'node:module';
import util from 'node:util';
import type { KernelBackend } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { addonNotInstalled, findAddon } from './addon.ts';

const require = createRequire(import.meta.url);

const TENSORFLOW_BACKEND = 'tensorflow';

type Binding = { isUsingGpuDevice(): boolean };
type BackendModule = { NodeJSKernelBackend: new (binding: Binding, packageName: string) => KernelBackend };

/** Makes TensorFlow the tfjs backend of this thread. */
export async function openBackend(): Promise<{ hasGpu: boolean }> {
  const addon = findAddon();
  if (!addon) throw addonNotInstalled();
  const binding: Binding = require(addon.file);
  if (tf.findBackend(TENSORFLOW_BACKEND) === null) {
    // tfjs-node calls util.isNullOrUndefined, removed in Node 23, and util.isArray, deprecated in Node 24.
    const deprecated = util as {
      isNullOrUndefined?: (value: unknown) => boolean;
      isArray: (value: unknown) => boolean;
    };
    deprecated.isNullOrUndefined ??= (value) => value === null || value === undefined;
    deprecated.isArray = Array.isArray;
    require('@tensorflow/tfjs-node-gpu/dist/register_all_kernels.js');
    const { NodeJSKernelBackend }: BackendModule = require('@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js');
    tf.registerBackend(TENSORFLOW_BACKEND, () => new NodeJSKernelBackend(binding, '@tensorflow/tfjs-node-gpu'));
  }
  await tf.setBackend(TENSORFLOW_BACKEND);
  return { hasGpu: binding.isUsingGpuDevice() };
}
