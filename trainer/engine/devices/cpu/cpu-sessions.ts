// ONNX Runtime sessions of the engine's programs. One serves every batch, whatever its shape, up to a length; weights are
// inputs, so that all of them share one copy. A session keeps the memory of its largest run for the next one, so the
// least recently used are given up where all together would be more than training may take.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Arrays } from '../../batch.ts';
import type { DeviceOptions } from '../../device.ts';
import { estimateParameters, estimateRun } from '../../memory-estimate.ts';
import { type Bucket, buildFreeProgram, outputShapes, type ProgramKind } from '../../programs.ts';
import { sizeOf } from '../../trace/graph.ts';

/** The least number of positions that a program knows; it doubles from there. */
const LEAST_LENGTH = 256;

type Ready = { session: InferenceSession; inputs: string[]; bytes: number };
export type SessionOptions = Omit<DeviceOptions, 'provider'> & { provider?: 'cpu' | 'cuda' };

export class Sessions {
  private readonly ready = new Map<string, Ready>();
  private readonly options: SessionOptions;

  constructor(options: SessionOptions) {
    this.options = options;
  }

  /** Runs a program on `inputs`, of which it takes what it needs. Outputs that are in `into` are written there. */
  async run(
    kind: ProgramKind,
    bucket: Bucket,
    inputs: Arrays,
    into: Arrays = new Map(),
  ): Promise<Map<string, Float32Array>> {
    const { session, inputs: wanted } = await this.open(kind, bucket);
    const feeds: Record<string, Tensor> = {};
    for (const name of wanted) feeds[name] = toTensor(name, inputs);
    const fetches: Record<string, Tensor> = {};
    const results = new Map<string, Float32Array>();
    for (const [name, shape] of outputShapes(this.options.architecture, kind, bucket, this.options.lora)) {
      const size = sizeOf(shape);
      const data = (into.get(name)?.data as Float32Array | undefined) ?? new Float32Array(size);
      fetches[name] = new Tensor('float32', data, shape);
      results.set(name, data);
    }
    await session.run(feeds, fetches);
    return results;
  }

  async close(): Promise<void> {
    for (const { session } of this.ready.values()) await session.release();
    this.ready.clear();
  }

  private async open(kind: ProgramKind, bucket: Bucket): Promise<Ready> {
    const length = LEAST_LENGTH * 2 ** Math.max(0, Math.ceil(Math.log2(bucket.T / LEAST_LENGTH)));
    const key = `${kind} ${length}`;
    const known = this.ready.get(key);
    const bytes = Math.max(known?.bytes ?? 0, estimateRun(this.options, kind, bucket));
    this.ready.delete(key);
    await this.makeRoom(bytes);
    const ready = known ?? (await this.create(kind, length));
    this.ready.set(key, ready); // now the most recent one
    ready.bytes = bytes;
    return ready;
  }

  private async makeRoom(bytes: number): Promise<void> {
    const { memory = Number.POSITIVE_INFINITY } = this.options;
    let total = estimateParameters(this.options) + bytes;
    for (const one of this.ready.values()) total += one.bytes;
    for (const [key, one] of this.ready) {
      if (total <= memory) return;
      total -= one.bytes;
      this.ready.delete(key);
      await one.session.release();
    }
  }

  private async create(kind: ProgramKind, length: number): Promise<Ready> {
    const { architecture, objective, lora, provider = 'cpu', threads } = this.options;
    const program = buildFreeProgram(architecture, objective, kind, length, lora);
    const session = await InferenceSession.create(program.bytes, {
      executionProviders: [provider],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      // Patterns lay out one block for a whole run, larger than what is ever alive at once.
      enableMemPattern: false,
      // Threads that wait longer leave the processor to whoever serves; it costs a step nothing.
      extra: { session: { intra_op: { allow_spinning: '1', spin_duration_us: '50' } } },
    });
    return { session, inputs: program.inputs, bytes: 0 };
  }
}

function toTensor(name: string, inputs: Arrays): Tensor {
  const array = inputs.get(name);
  if (!array) throw new Error(`internal: sessions: no input ${name}`);
  const { shape, data } = array;
  return data instanceof Int32Array ? new Tensor('int32', data, shape) : new Tensor('float32', data, shape);
}
