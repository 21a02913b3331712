// ONNX Runtime sessions of the engine's programs on the WebGPU provider, one per shape bucket, in an LRU cache. They
// share one memory pool of the GPU, so only their number is limited.
import type { InferenceSession } from 'onnxruntime-node';
import type { ShapeBucket } from '../../batch.ts';
import type { DeviceOptions } from '../../device.ts';
import { buildBucketProgram, gradientName, outputShapes, type ProgramKind } from '../../programs.ts';
import { type OutputLocation, openWebgpuSession } from './gpu-operations.ts';

const MAX_SESSIONS = 32;

export type CachedSession = { session: InferenceSession; inputs: string[] };

export class WebgpuSessions {
  private readonly cached = new Map<string, CachedSession>();
  private readonly options: DeviceOptions;

  constructor(options: DeviceOptions) {
    this.options = options;
  }

  async open(kind: ProgramKind, bucket: ShapeBucket): Promise<CachedSession> {
    const key = `${kind} ${bucket.S} ${bucket.T} ${bucket.R} ${bucket.P}`;
    const opened = this.cached.get(key) ?? (await this.create(kind, bucket));
    this.cached.delete(key);
    this.cached.set(key, opened); // now the most recently used
    for (const [oldest, { session }] of this.cached) {
      if (this.cached.size <= MAX_SESSIONS) break;
      this.cached.delete(oldest);
      await session.release();
    }
    return opened;
  }

  async close(): Promise<void> {
    for (const { session } of this.cached.values()) await session.release();
    this.cached.clear();
  }

  private async create(kind: ProgramKind, bucket: ShapeBucket): Promise<CachedSession> {
    const { architecture, objective, lora } = this.options;
    const program = buildBucketProgram(architecture, objective, kind, bucket, 'webgpu', lora);
    const locations = Array.from(
      outputShapes(architecture, kind, bucket, lora).keys(),
      (name): [string, OutputLocation] => [name, name.startsWith(gradientName('')) ? 'gpu-buffer' : 'cpu'],
    );
    return { session: await openWebgpuSession(program.bytes, Object.fromEntries(locations)), inputs: program.inputs };
  }
}
