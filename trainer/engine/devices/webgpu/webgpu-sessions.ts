// ONNX Runtime sessions of the engine's programs on the WebGPU provider, one for each bucket, the least recently used
// given up first. What they compute in belongs to the GPU's one pool, so only their number counts.
import type { InferenceSession } from 'onnxruntime-node';
import type { DeviceOptions } from '../../device.ts';
import { type Bucket, buildProgram, gradientName, outputShapes, type ProgramKind } from '../../programs.ts';
import { openSession, type Place } from './gpu-operations.ts';

const KEPT = 32;

export type Ready = { session: InferenceSession; inputs: string[] };

export class GpuSessions {
  private readonly ready = new Map<string, Ready>();
  private readonly options: DeviceOptions;

  constructor(options: DeviceOptions) {
    this.options = options;
  }

  async open(kind: ProgramKind, bucket: Bucket): Promise<Ready> {
    const key = `${kind} ${bucket.S} ${bucket.T} ${bucket.R} ${bucket.P}`;
    const ready = this.ready.get(key) ?? (await this.create(kind, bucket));
    this.ready.delete(key);
    this.ready.set(key, ready); // now the most recent one
    for (const [old, one] of this.ready) {
      if (this.ready.size <= KEPT) break;
      this.ready.delete(old);
      await one.session.release();
    }
    return ready;
  }

  async close(): Promise<void> {
    for (const { session } of this.ready.values()) await session.release();
    this.ready.clear();
  }

  private async create(kind: ProgramKind, bucket: Bucket): Promise<Ready> {
    const { architecture, objective, lora } = this.options;
    const program = buildProgram(architecture, objective, kind, bucket, 'webgpu', lora);
    const places = Array.from(outputShapes(architecture, kind, bucket, lora).keys(), (name): [string, Place] => [
      name,
      name.startsWith(gradientName('')) ? 'gpu-buffer' : 'cpu',
    ]);
    return { session: await openSession(program.bytes, Object.fromEntries(places)), inputs: program.inputs };
  }
}
