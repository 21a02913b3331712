// TRAIN_PROVIDER, the execution provider of the onnx engine: cpu, or webgpu for a GPU through Vulkan, Metal or Direct3D
// 12. A provider that does not work on this machine is rejected with the reason.
import { InferenceSession } from 'onnxruntime-node';
import { AttuneError } from '../../shared/error.ts';
import { writeOnnxModel } from '../../shared/onnx/model-proto.ts';
import type { Settings } from '../../shared/settings.ts';
import type { Device, DeviceOptions } from './device.ts';
import { CpuDevice } from './devices/cpu/cpu-device.ts';
import { WebgpuDevice } from './devices/webgpu/webgpu-device.ts';

export type ExecutionProvider = Settings['TRAIN_PROVIDER'];

export async function openOnnxDevice(options: DeviceOptions): Promise<Device> {
  if (options.provider !== 'webgpu') return new CpuDevice(options);
  await assertWebgpuAvailable();
  return new WebgpuDevice(options);
}

/** One line about TRAIN_PROVIDER on this machine. Throws if `openOnnxDevice` would. */
export async function describeProvider({ TRAIN_PROVIDER }: Pick<Settings, 'TRAIN_PROVIDER'>): Promise<string> {
  if (TRAIN_PROVIDER === 'webgpu') await assertWebgpuAvailable();
  return `TRAIN_PROVIDER is ${TRAIN_PROVIDER}; ${NOTE[TRAIN_PROVIDER]}`;
}

const NOTE: Record<ExecutionProvider, string> = {
  cpu: 'webgpu uses any GPU with a driver for Vulkan, Metal or Direct3D 12',
  webgpu: 'weights, gradient and moments stay on the GPU',
};

async function assertWebgpuAvailable(): Promise<void> {
  try {
    const session = await InferenceSession.create(minimalModel(), {
      executionProviders: ['webgpu'],
      logSeverityLevel: 4,
    });
    await session.release();
  } catch (error) {
    const reason = (error as Error).message
      .split(/was false\. |: Error /)
      .at(-1)!
      .trim();
    throw new AttuneError(
      `settings: TRAIN_PROVIDER: ${reason}; install a driver for your GPU (on Linux for Vulkan: Debian’s mesa-vulkan-drivers or NVIDIA’s own, and libvulkan1), or leave TRAIN_PROVIDER unset`,
      { code: 'provider_unavailable' },
    );
  }
}

/** A model of one node, to test whether a session opens. */
function minimalModel(): Uint8Array {
  const value = (name: string) => ({ name, type: 'float32' as const, dims: [1] });
  return writeOnnxModel({
    nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
    inputs: [value('x')],
    outputs: [value('y')],
    initializers: [],
  });
}
