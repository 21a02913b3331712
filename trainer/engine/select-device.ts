// Selects the device that trains. On a CPU the traced graph needs half of the memory that TensorFlow's eager operations
// need, so ENGINE=auto selects TensorFlow only if it finds a GPU.
import type { Settings } from '../../shared/settings.ts';
import type { Device, DeviceOptions } from './device.ts';
import { addonNotInstalled, findAddon, probeAddon } from './devices/tensorflow/addon.ts';
import { type ExecutionProvider, openOnnxDevice } from './execution-provider.ts';

export type EngineChoice = Settings['ENGINE'];

/**
 * Whether TensorFlow has to be loaded, if only to check for a GPU; the addon for CPUs never finds one. A provider other
 * than cpu selects the onnx engine.
 */
export function needsTensorflow(choice: EngineChoice, provider: ExecutionProvider = 'cpu'): boolean {
  return choice === 'tensorflow' || (choice === 'auto' && provider === 'cpu' && findAddon()?.kind === 'gpu');
}

export async function openDevice(
  choice: EngineChoice,
  options: DeviceOptions,
): Promise<{ name: 'tensorflow' | 'onnx'; device: Device }> {
  if (needsTensorflow(choice, options.provider)) {
    // A dynamic import, so that the onnx engine does not load TensorFlow's JavaScript.
    const { TensorflowDevice } = await import('./devices/tensorflow/tensorflow-device.ts');
    const device = await TensorflowDevice.open(options);
    if (choice === 'tensorflow' || device.hasGpu) return { name: 'tensorflow', device };
    await device.close();
  }
  return { name: 'onnx', device: await openOnnxDevice(options) };
}

/** The engine that `openDevice` opens, with the reason and the alternative. Throws if `openDevice` would. */
export async function resolveEngine(
  choice: EngineChoice,
  provider: ExecutionProvider = 'cpu',
): Promise<{ name: 'tensorflow' | 'onnx'; reason: string }> {
  const addon = findAddon();
  if (choice === 'auto' && provider !== 'cpu')
    return { name: 'onnx', reason: `ENGINE is auto and TRAIN_PROVIDER=${provider} is a provider of the onnx engine` };
  if (choice === 'onnx')
    return { name: 'onnx', reason: 'ENGINE is onnx; leave it unset to use TensorFlow if it finds a GPU' };
  if (choice === 'tensorflow' && !addon) throw addonNotInstalled();
  const gpu = addon !== null && (await probeAddon(addon.file)).gpu;
  if (choice === 'tensorflow')
    return { name: 'tensorflow', reason: `ENGINE is tensorflow; it computes on the ${gpu ? 'GPU' : 'CPU'}` };
  if (gpu)
    return { name: 'tensorflow', reason: 'ENGINE is auto and TensorFlow found a GPU; ENGINE=onnx uses ONNX Runtime' };
  const problem = addon ? 'TensorFlow found no GPU' : 'TensorFlow is not installed';
  return {
    name: 'onnx',
    reason: `ENGINE is auto and ${problem}; ${addon ? 'ENGINE=tensorflow uses TensorFlow on the CPU, with twice the memory' : 'on a CPU onnx needs half the memory of TensorFlow'}`,
  };
}
