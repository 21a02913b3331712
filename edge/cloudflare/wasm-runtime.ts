// ONNX Runtime as WebAssembly inside a Worker. Its 14 MB are loaded where a policy is to run here and nowhere else, and
// are instantiated from the module that was compiled at deployment, because a Worker may not compile bytes. One thread.
import type { InferenceSession, Tensor, TensorConstructor } from 'onnxruntime-node';
import type { DecoderSession } from '../../shared/decoder/decoder.ts';
import { AttuneError } from '../../shared/error.ts';
import { writeOnnxModel } from '../../shared/onnx/model-proto.ts';

/** A serving graph and the file of weights that it names. */
export type ServingGraph = { model: Uint8Array; weights: { path: string; data: Uint8Array } };

export type Runtime = { Tensor: TensorConstructor; open(graph: ServingGraph): Promise<DecoderSession> };

let started: Runtime | undefined;
let failure: AttuneError | undefined;

/** Why nothing can be computed in this isolate, once that has been seen. */
export function getRuntimeFailure(): string | null {
  return failure?.message ?? null;
}

/** Throws an AttuneError where it does not start: then never in this isolate, because the runtime tries once. */
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
    throw fail(`WebAssembly did not start in this Worker: ${error instanceof Error ? error.message : error}`);
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
  // Never read: with bytes given, the runtime does not look for its file.
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

/** Starting the runtime means making a session; this one is thrown away. */
const IDENTITY_MODEL = writeOnnxModel({
  nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
  inputs: [{ name: 'x', type: 'float32', dims: [1] }],
  outputs: [{ name: 'y', type: 'float32', dims: [1] }],
  initializers: [],
});

/**
 * The runtime's loader offers no way in for a compiled module, and takes a Worker with nodejs_compat for Node. While it
 * starts, its WebAssembly.instantiate gives the module, and the process calls itself what the loader does not take for Node.
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

/** One session for all generations of a policy. Outputs are copied into the fetches: the runtime only says that it would. */
class SharedSession implements DecoderSession {
  private readonly session: InferenceSession;

  constructor(session: InferenceSession) {
    this.session = session;
  }

  async run(feeds: Record<string, Tensor>, fetches?: Record<string, Tensor>): Promise<Record<string, unknown>> {
    const results = await runExclusive(() => this.session.run(feeds));
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
/** Milliseconds between two looks whether it still is, and how many there are. */
const POLL_INTERVAL_MS = 10;
const MAX_POLLS = 200;

/**
 * The runtime keeps one stack, and a call that begins inside another one ruins it. A call awaits nothing that takes time,
 * so only work of the same request ever finds it busy. Where it stays busy, its call was killed, for its use of the
 * processor say, and what it left behind is not to be trusted.
 */
async function runExclusive<T>(work: () => Promise<T>): Promise<T> {
  for (let looks = 0; isBusy; looks++) {
    if (looks === MAX_POLLS) throw fail('WebAssembly was stopped in the middle of a computation in this Worker');
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS * Math.sign(looks)));
  }
  if (failure) throw failure;
  isBusy = true;
  try {
    return await work();
  } finally {
    isBusy = false;
  }
}
