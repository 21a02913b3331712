// Chooses what computes. On a CPU the traced graph takes half of the memory that TensorFlow's single operations take, so
// `auto` takes TensorFlow only where it sees a GPU; see `attune doctor`.
import type { Settings } from '../../shared/settings.ts';
import type { Device, DeviceOptions } from './device.ts';
import { findAddon, notInstalled, probeAddon } from './devices/tensorflow/addon.ts';
import { openProvider, type Provider } from './execution-provider.ts';

export type EngineChoice = Settings['ENGINE'];

/**
 * Whether TensorFlow has to be loaded, if only to see whether it finds a GPU: the addon for CPUs never does. Who names a
 * provider wants the ONNX engine.
 */
export function wantsTensorflow(choice: EngineChoice, provider: Provider = 'cpu'): boolean {
  return choice === 'tensorflow' || (choice === 'auto' && provider === 'cpu' && findAddon()?.kind === 'gpu');
}

export async function openDevice(
  choice: EngineChoice,
  options: DeviceOptions,
): Promise<{ name: 'tensorflow' | 'onnx'; device: Device }> {
  if (wantsTensorflow(choice, options.provider)) {
    // Where it is not wanted, not even its JavaScript is loaded.
    const { TensorflowDevice } = await import('./devices/tensorflow/tensorflow-device.ts');
    const device = await TensorflowDevice.open(options);
    if (choice === 'tensorflow' || device.gpu) return { name: 'tensorflow', device };
    await device.close();
  }
  return { name: 'onnx', device: await openProvider(options) };
}

/** What `openDevice` will choose, and why, with the way to the other one. Refuses where it would refuse. */
export async function explainEngine(
  choice: EngineChoice,
  provider: Provider = 'cpu',
): Promise<{ name: 'tensorflow' | 'onnx'; reason: string }> {
  const addon = findAddon();
  if (choice === 'auto' && provider !== 'cpu')
    return { name: 'onnx', reason: `ENGINE is auto and TRAIN_PROVIDER is ${provider}, which is this one’s` };
  if (choice === 'onnx')
    return { name: 'onnx', reason: 'ENGINE is onnx; unset it to take TensorFlow where it sees a GPU' };
  if (choice === 'tensorflow' && !addon) throw notInstalled();
  const gpu = addon !== null && (await probeAddon(addon.file)).gpu;
  if (choice === 'tensorflow')
    return { name: 'tensorflow', reason: `ENGINE is tensorflow; it computes on the ${gpu ? 'GPU' : 'CPU'}` };
  if (gpu)
    return { name: 'tensorflow', reason: 'ENGINE is auto and TensorFlow sees a GPU; ENGINE=onnx takes the other' };
  const missing = addon ? 'TensorFlow sees no GPU' : 'TensorFlow is not installed';
  return {
    name: 'onnx',
    reason: `ENGINE is auto and ${missing}; ${addon ? 'ENGINE=tensorflow takes it all the same, with twice the memory' : 'on a CPU this one takes half the memory'}`,
  };
}
