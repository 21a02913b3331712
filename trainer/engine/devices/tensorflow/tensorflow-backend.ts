// TensorFlow as a tfjs backend. The entry of tfjs-node-gpu looks for its addon in its own folder alone, so its kernels
// are registered here with the addon from the user's cache; they share the one tfjs-core with everybody else.
import { createRequire } from 'node:module';
import util from 'node:util';
import type { KernelBackend } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { findAddon, notInstalled } from './addon.ts';

const require = createRequire(import.meta.url);

export const BACKEND = 'tensorflow';

type Binding = { TF_Version: string; isUsingGpuDevice(): boolean };
type BackendModule = { NodeJSKernelBackend: new (binding: Binding, packageName: string) => KernelBackend };

/** Makes TensorFlow the backend of tfjs in this thread. */
export async function openBackend(): Promise<{ version: string; gpu: boolean }> {
  const addon = findAddon();
  if (!addon) throw notInstalled();
  const binding: Binding = require(addon.file);
  if (tf.findBackend(BACKEND) === null) {
    // tfjs-node uses what Node 23 took away, and what Node 24 warns of.
    const old = util as { isNullOrUndefined?: (value: unknown) => boolean; isArray: (value: unknown) => boolean };
    old.isNullOrUndefined ??= (value) => value === null || value === undefined;
    old.isArray = Array.isArray;
    require('@tensorflow/tfjs-node-gpu/dist/register_all_kernels.js');
    const { NodeJSKernelBackend }: BackendModule = require('@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js');
    tf.registerBackend(BACKEND, () => new NodeJSKernelBackend(binding, '@tensorflow/tfjs-node-gpu'));
  }
  await tf.setBackend(BACKEND);
  return { version: binding.TF_Version, gpu: binding.isUsingGpuDevice() };
}
