// ONNX Runtime as WebAssembly inside a Worker, single-threaded. Its 14 MB are loaded only when a policy runs here, and are
// instantiated from the module compiled at deployment, because a Worker may not compile WebAssembly from bytes.
import { setTimeout as sleep } from 'node:timers/promises';
import type { InferenceSession, Tensor, TensorConstructor } from 'onnxruntime-node';
import type { DecoderSession } from '../../shared/decoder/decoder.ts';
import { AttuneError, getErrorMessage } from '../../shared/error.ts';
import { writeOnnxModel } from '../../shared/onnx/model-proto.ts';
import { computeLogNormalizers } from './log-sum-exp.ts';

/** A serving graph and the external weights file that it references. */
export type ServingGraph = { model: Uint8Array; weights: { path: string; data: Uint8Array } };

export type Runtime = { Tensor: TensorConstructor; open(graph: ServingGraph): Promise<DecoderSession> };

let started: Runtime | undefined;
let failure: AttuneError | undefined;

/** Why the runtime failed in this isolate; null if it has not. */
export function getRuntimeFailure(): string | null {
  return failure?.message ?? null;
}

/** Throws `runtime_unavailable` if it does not start: a final failure in this isolate, because ONNX Runtime tries once. */
export async function startRuntime(): Promise<Runtime> {
  if (failure) throw failure;
  if (started) return started;
  try {
    const [ort, wasm] = await Promise.all([
      import('onnxruntime-web/wasm'),
      import('onnxruntime-web/dist/ort-wasm-simd-threaded.wasm'),
    ]);
    return await runExclusive(async () => {
      started ??= await start(ort, wasm.default);
      return started;
    });
  } catch (error) {
    throw fail(`WebAssembly did not start in this Worker: ${getErrorMessage(error)}`);
  }
}

function fail(problem: string): AttuneError {
  failure ??= new AttuneError(problem, { status: 503, code: 'runtime_unavailable' });
  return failure;
}

type Ort = typeof import('onnxruntime-web/wasm');

async function start(ort: Ort, wasm: WebAssembly.Module): Promise<Runtime> {
  const { env } = ort;
  env.wasm.numThreads = 1;
  env.wasm.proxy = false;
  // Never read; with wasmBinary set, the runtime does not fetch its file.
  env.wasm.wasmBinary = new Uint8Array(1);
  const restore = patchLoader(wasm);
  try {
    const session = await ort.InferenceSession.create(IDENTITY_MODEL);
    await session.run({ x: new ort.Tensor('float32', Float32Array.of(1), [1]) });
    await session.release();
  } finally {
    restore();
  }
  return {
    Tensor: ort.Tensor,
    async open({ model, weights }) {
      const session = await runExclusive(() =>
        ort.InferenceSession.create(model, {
          executionProviders: ['wasm'],
          executionMode: 'sequential',
          externalData: [weights],
        }),
      );
      return new SharedSession(session);
    },
  };
}

/** The runtime starts when a session is created; this model's session is released at once. */
const IDENTITY_MODEL = writeOnnxModel({
  nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
  inputs: [{ name: 'x', type: 'float32', dims: [1] }],
  outputs: [{ name: 'y', type: 'float32', dims: [1] }],
  initializers: [],
});

/**
 * The runtime's loader accepts no compiled module, and mistakes a Worker with nodejs_compat for Node. While it starts,
 * WebAssembly.instantiate returns the module, and process.type is set so that the loader does not detect Node.
 */
function patchLoader(wasm: WebAssembly.Module): () => void {
  const { instantiate } = WebAssembly;
  const process = globalThis.process as { type?: string };
  const { type } = process;
  process.type = 'renderer';
  WebAssembly.instantiate = (async (_: unknown, imports: WebAssembly.Imports) => ({
    module: wasm,
    instance: new WebAssembly.Instance(wasm, imports),
  })) as typeof instantiate;
  return () => {
    WebAssembly.instantiate = instantiate;
    process.type = type;
  };
}

/**
 * One session for all generations of a policy. Copies outputs into the fetches, which ONNX Runtime Web ignores, and replaces
 * the log-sum-exp by a more exact one.
 */
class SharedSession implements DecoderSession {
  readonly inputMetadata: InferenceSession['inputMetadata'];
  private readonly session: InferenceSession;

  constructor(session: InferenceSession) {
    this.inputMetadata = session.inputMetadata;
    this.session = session;
  }

  async run(feeds: Record<string, Tensor>, fetches?: Record<string, Tensor>): Promise<Record<string, unknown>> {
    const results = await runExclusive(() => this.session.run(feeds));
    const { logits, log_normalizer: normalizer } = results as Record<'logits' | 'log_normalizer', Tensor>;
    const normalizers = normalizer.data as Float32Array;
    normalizers.set(computeLogNormalizers(logits.data as Float32Array, normalizers.length));
    if (!fetches) return results;
    for (const [name, fetch] of Object.entries(fetches)) {
      (fetch.data as Float32Array).set((results[name] as Tensor).data as Float32Array);
    }
    return fetches;
  }

  release(): Promise<void> {
    return runExclusive(() => this.session.release());
  }
}

let isBusy = false;
const POLL_INTERVAL_MS = 10;
const MAX_POLLS = 200;

/**
 * The runtime has one stack, which a reentrant call corrupts. A call awaits nothing slow, so it can be busy only with work
 * of the same request. If it stays busy, its call was killed (over the CPU limit, for example) and its state is undefined.
 */
async function runExclusive<T>(work: () => Promise<T>): Promise<T> {
  for (let polls = 0; isBusy; polls++) {
    if (polls === MAX_POLLS) throw fail('WebAssembly was interrupted in the middle of a computation in this Worker');
    await sleep(POLL_INTERVAL_MS * Math.sign(polls));
  }
  if (failure) throw failure;
  isBusy = true;
  try {
    return await work();
  } finally {
    isBusy = false;
  }
}
