// What the ONNX engine runs on: the CPU, a GPU through WebGPU (Vulkan, Metal or Direct3D 12), or an NVIDIA GPU through
// CUDA where onnxruntime-node was installed with it. Refuses what this machine cannot do, saying what it lacks.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { AttuneError } from '../../shared/error.ts';
import { writeOnnxModel } from '../../shared/onnx/model-proto.ts';
import type { Settings } from '../../shared/settings.ts';
import type { Device, DeviceOptions } from './device.ts';
import { OnnxDevice } from './devices/cpu/cpu-device.ts';
import { WebgpuDevice } from './devices/webgpu/webgpu-device.ts';

export type Provider = Settings['TRAIN_PROVIDER'];

export async function openProvider(options: DeviceOptions): Promise<Device> {
  const { provider = 'cpu' } = options;
  await checkProvider(provider);
  return provider === 'webgpu' ? new WebgpuDevice(options) : new OnnxDevice(options, provider);
}

/** What TRAIN_PROVIDER comes to on this machine, in a line. Refuses where `openProvider` would. */
export async function describeProvider({ TRAIN_PROVIDER }: Pick<Settings, 'TRAIN_PROVIDER'>): Promise<string> {
  await checkProvider(TRAIN_PROVIDER);
  return `TRAIN_PROVIDER is ${TRAIN_PROVIDER}; ${CONSEQUENCE[TRAIN_PROVIDER]}`;
}

const CONSEQUENCE: Record<Provider, string> = {
  cpu: 'webgpu takes any GPU with a driver for Vulkan, Metal or Direct3D 12',
  webgpu: 'weights, gradient and moments stay on the GPU',
  cuda: 'weights and gradients cross the bus at every run, because the binding keeps buffers on the device for webgpu alone',
};

async function checkProvider(provider: Provider): Promise<void> {
  if (provider === 'cpu') return;
  if (provider === 'cuda' && !hasCuda())
    throw refused(
      `onnxruntime-node came without its CUDA libraries; on 64-bit Linux, bring them with \`${INSTALL_CUDA}\` (some hundred megabytes from nuget.org), or set TRAIN_PROVIDER=webgpu`,
    );
  try {
    const session = await InferenceSession.create(nothing(), { executionProviders: [provider], logSeverityLevel: 4 });
    await session.release();
  } catch (error) {
    const reason = (error as Error).message
      .split(/was false\. |: Error /)
      .at(-1)!
      .trim();
    throw refused(`${reason}; ${LACKING[provider]}, or leave TRAIN_PROVIDER unset`);
  }
}

const INSTALL_CUDA = 'node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12';
const LACKING = {
  webgpu:
    'install a driver for your GPU (on Linux Vulkan’s: Debian’s mesa-vulkan-drivers, or NVIDIA’s own, and libvulkan1)',
  cuda: 'see that CUDA 12 and cuDNN 9 are where the loader finds them (LD_LIBRARY_PATH)',
};

/** Whether the library lies beside the binding. `listSupportedBackends` says only that no package comes with it. */
export function hasCuda(): boolean {
  const main = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  const folder = join(dirname(main), 'bin', 'napi-v6', process.platform, process.arch);
  return existsSync(join(folder, 'libonnxruntime_providers_cuda.so'));
}

/** The smallest model, only to see whether a session opens. */
function nothing(): Uint8Array {
  const value = (name: string) => ({ name, type: 'float32' as const, dims: [1] });
  return writeOnnxModel({
    nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
    inputs: [value('x')],
    outputs: [value('y')],
    initializers: [],
  });
}

function refused(message: string): AttuneError {
  return new AttuneError(`settings: TRAIN_PROVIDER: ${message}`, { code: 'provider_unavailable' });
}
