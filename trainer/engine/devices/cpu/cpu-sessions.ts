// ONNX Runtime sessions of the engine's programs, one for each, an LRU cache. A session serves batches of every shape up
// to a row length, and a longer row replaces it; weights are inputs, so that all sessions share one copy. A session keeps
// the memory of its largest run for the next one, so there are never two of a program, and the least recently used
// sessions are released if their sum would exceed the memory limit.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { InputArrays, ShapeBucket } from '../../batch.ts';
import type { DeviceOptions } from '../../device.ts';
import { estimateParameters, estimateRun } from '../../memory-estimate.ts';
import { buildDynamicProgram, outputShapes, type ProgramKind } from '../../programs.ts';
import { sizeOf } from '../../trace/symbolic-tensor.ts';

/** Row lengths of sessions are this times a power of two. */
const MIN_SESSION_LENGTH = 256;

type CachedSession = { session: InferenceSession; inputs: string[]; length: number; bytes: number };

export class CpuSessions {
  private readonly cached = new Map<ProgramKind, CachedSession>();
  private readonly options: DeviceOptions;

  constructor(options: DeviceOptions) {
    this.options = options;
  }

  /** `inputs` may hold more than the program needs. Outputs with an array in `outputArrays` are written there. */
  async run(
    kind: ProgramKind,
    bucket: ShapeBucket,
    inputs: InputArrays,
    outputArrays: InputArrays = new Map(),
  ): Promise<Map<string, Float32Array>> {
    const { session, inputs: names } = await this.open(kind, bucket);
    const feeds: Record<string, Tensor> = {};
    for (const name of names) feeds[name] = toTensor(name, inputs);
    const fetches: Record<string, Tensor> = {};
    const results = new Map<string, Float32Array>();
    for (const [name, shape] of outputShapes(this.options.architecture, kind, bucket, this.options.lora)) {
      const size = sizeOf(shape);
      const data = (outputArrays.get(name)?.data as Float32Array | undefined) ?? new Float32Array(size);
      fetches[name] = new Tensor('float32', data, shape);
      results.set(name, data);
    }
    const outputs = await session.run(feeds, fetches);
    // ONNX Runtime's binding returns copies of the arrays that it was given; those of gradients are as large as the policy.
    for (const name of outputArrays.keys()) (outputs[name]!.data as Float32Array<ArrayBuffer>).buffer.transfer(0);
    return results;
  }

  async close(): Promise<void> {
    for (const { session } of this.cached.values()) await session.release();
    this.cached.clear();
  }

  private async open(kind: ProgramKind, bucket: ShapeBucket): Promise<CachedSession> {
    const length = MIN_SESSION_LENGTH * 2 ** Math.max(0, Math.ceil(Math.log2(bucket.T / MIN_SESSION_LENGTH)));
    let opened = this.cached.get(kind);
    this.cached.delete(kind);
    if (opened && opened.length < length) {
      await opened.session.release();
      opened = undefined;
    }
    const bytes = Math.max(opened?.bytes ?? 0, estimateRun(this.options, kind, bucket));
    await this.evictFor(bytes);
    opened ??= await this.create(kind, length);
    this.cached.set(kind, opened); // now the most recently used
    opened.bytes = bytes;
    return opened;
  }

  /** Releases the least recently used sessions until `bytes` fit in memory with the others. */
  private async evictFor(bytes: number): Promise<void> {
    const { memoryBytes = Number.POSITIVE_INFINITY } = this.options;
    let totalBytes = estimateParameters(this.options) + bytes;
    for (const cached of this.cached.values()) totalBytes += cached.bytes;
    for (const [kind, cached] of this.cached) {
      if (totalBytes <= memoryBytes) return;
      totalBytes -= cached.bytes;
      this.cached.delete(kind);
      await cached.session.release();
    }
  }

  private async create(kind: ProgramKind, length: number): Promise<CachedSession> {
    const { architecture, objective, lora, threads } = this.options;
    const program = buildDynamicProgram(architecture, objective, kind, length, lora);
    const session = await InferenceSession.create(program.bytes, {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      // Memory patterns allocate one block for a whole run, larger than all tensors that are ever live at once.
      enableMemPattern: false,
      // Threads that spin longer take processor time from the serving process; short spinning does not slow a step.
      // Softmax turns masked scores into denormal numbers, which take Intel processors a hundred times as long as others.
      extra: { session: { intra_op: { allow_spinning: '1', spin_duration_us: '50' }, set_denormal_as_zero: '1' } },
    });
    return { session, inputs: program.inputs, length, bytes: 0 };
  }
}

function toTensor(name: string, inputs: InputArrays): Tensor {
  const array = inputs.get(name);
  if (!array) throw new Error(`internal: sessions: no input ${name}`);
  const { shape, data } = array;
  return data instanceof Int32Array ? new Tensor('int32', data, shape) : new Tensor('float32', data, shape);
}
