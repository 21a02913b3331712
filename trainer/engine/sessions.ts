// ONNX Runtime sessions of the engine's programs, one for each bucket, the least recently used given up first.
// Weights are inputs, so that all of them share one copy.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Architecture } from '../../shared/policy/architecture.ts';
import type { ObjectiveSettings } from '../objectives.ts';
import { type Bucket, buildProgram, outputShapes, type ProgramKind } from './programs.ts';

/** What the kept sessions may hold. ONNX Runtime keeps the memory of a session's run for its next one. */
const KEPT_BYTES = 3 * 2 ** 30;

type Ready = { session: InferenceSession; inputs: string[]; outputs: Map<string, number[]>; bytes: number };
export type Arrays = Map<string, { shape: number[]; data: Float32Array | Int32Array }>;

export class Sessions {
  private readonly ready = new Map<string, Ready>();
  private readonly architecture: Architecture;
  private readonly objective: ObjectiveSettings;
  private readonly threads: number;

  constructor(architecture: Architecture, objective: ObjectiveSettings, threads: number) {
    this.architecture = architecture;
    this.objective = objective;
    this.threads = threads;
  }

  /** Runs a program on `inputs`, of which it takes what it needs. Outputs that are in `into` are written there. */
  async run(
    kind: ProgramKind,
    bucket: Bucket,
    inputs: Arrays,
    into: Arrays = new Map(),
  ): Promise<Map<string, Float32Array>> {
    const { session, inputs: wanted, outputs } = await this.open(kind, bucket);
    const feeds: Record<string, Tensor> = {};
    for (const name of wanted) feeds[name] = toTensor(name, inputs);
    const fetches: Record<string, Tensor> = {};
    const results = new Map<string, Float32Array>();
    for (const [name, shape] of outputs) {
      const size = shape.reduce((product, extent) => product * extent, 1);
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
    const key = `${kind} ${bucket.S} ${bucket.T} ${bucket.R}`;
    let ready = this.ready.get(key);
    this.ready.delete(key);
    ready ??= await this.create(kind, bucket);
    this.ready.set(key, ready); // now the most recent one
    let bytes = 0;
    for (const one of this.ready.values()) bytes += one.bytes;
    for (const [old, one] of this.ready) {
      if (bytes <= KEPT_BYTES || one === ready) break;
      bytes -= one.bytes;
      this.ready.delete(old);
      await one.session.release();
    }
    return ready;
  }

  private async create(kind: ProgramKind, bucket: Bucket): Promise<Ready> {
    const program = buildProgram(this.architecture, this.objective, kind, bucket);
    const session = await InferenceSession.create(program.bytes, {
      intraOpNumThreads: this.threads,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      // Patterns lay out one block for a whole run, larger than what is ever alive at once.
      enableMemPattern: false,
    });
    return {
      session,
      inputs: program.inputs,
      outputs: outputShapes(this.architecture, kind, bucket),
      bytes: estimateBytes(this.architecture, kind, bucket),
    };
  }
}

/** What a run holds at its peak, roughly: logits, and for a step what each layer keeps for its gradient. */
function estimateBytes(a: Architecture, kind: ProgramKind, { S, T, R }: Bucket): number {
  const head = 3 * (kind === 'logits' ? S * T : R) * a.vocabSize;
  const layer = S * T * (8 * a.hiddenSize + 3 * a.intermediateSize + a.heads * T);
  return 4 * (head + layer * (kind === 'step' ? a.layers : 1));
}

function toTensor(name: string, inputs: Arrays): Tensor {
  const array = inputs.get(name);
  if (!array) throw new Error(`internal: sessions: no input ${name}`);
  const { shape, data } = array;
  return data instanceof Int32Array ? new Tensor('int32', data, shape) : new Tensor('float32', data, shape);
}
