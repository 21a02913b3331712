// For tests of the TensorFlow engine: the addon, which the first of them to run on a machine installs (274 MB from the
// Python package index, half a minute), or why there is none. Given to `skip`, that is printed beside the test.
import { findAddon } from '../trainer/engine/devices/tensorflow/addon.ts';
import { prepareTensorflow } from '../trainer/engine/devices/tensorflow/environment.ts';
import { installAddon } from '../trainer/engine/devices/tensorflow/install.ts';

export async function reasonToSkip(): Promise<string | false> {
  prepareTensorflow(2);
  if (findAddon()) return false;
  // Without a network, find out soon.
  process.env.PIP_RETRIES ??= '1';
  try {
    await installAddon('cpu', (line) => console.log(`tensorflow: ${line}`));
    return false;
  } catch (error) {
    console.error(`TensorFlow is not tested: ${(error as Error).message}`);
    return 'TensorFlow is not installed: npx attune tensorflow install';
  }
}
