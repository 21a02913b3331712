// The TensorFlow addon for tests. The first test file that needs it on a machine installs it: 274 MB from the Python
// package index, half a minute. If that fails, the reason goes to the `skip` option of the tests.
import { findAddon, setTensorflowEnvironment } from '../trainer/engine/devices/tensorflow/addon.ts';
import { installAddon } from '../trainer/engine/devices/tensorflow/install.ts';

/** The reason to skip tests with TensorFlow; false if it is installed. Installs it if necessary. */
export async function findTensorflowSkipReason(): Promise<string | false> {
  setTensorflowEnvironment(2);
  if (findAddon()) return false;
  // Fails fast without a network.
  process.env.PIP_RETRIES ??= '1';
  try {
    await installAddon('cpu', (line) => console.log(`tensorflow: ${line}`));
    return false;
  } catch (error) {
    console.error(`TensorFlow is not tested: ${(error as Error).message}`);
    return 'TensorFlow is not installed: npx attune tensorflow install';
  }
}
