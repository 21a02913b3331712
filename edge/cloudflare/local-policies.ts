// Policies that run in this isolate: loaded from the store, warmed up, and the last two cached. A policy that is too
// large, or that the WebAssembly runtime cannot compute, is rejected with the reason, and placement forwards the
// request.
import { setTimeout as sleep } from 'node:timers/promises';
import { Decoder, type DecoderSession } from '../../shared/decoder/decoder.ts';
import { AttuneError, getErrorMessage } from '../../shared/error.ts';
import { kvBytesPerPosition } from '../../shared/onnx/kv-format.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import type { PolicyStore } from '../../shared/store/store.ts';
import type { LoadedPolicy } from '../engine/inference.ts';
import { maxSequenceLength } from '../engine/kv-budget.ts';
import { policyUnusable } from '../engine/policy-errors.ts';
import { warmUp } from '../engine/validate-package.ts';
import { type AdmissionOptions, KvAdmission } from './kv-admission.ts';
import { LocalPolicy } from './local-policy.ts';
import { getServingBytes, readPackage } from './serving-package.ts';
import { getRuntimeFailure, type Runtime, type ServingGraph, startRuntime } from './wasm-runtime.ts';

type LocalPoliciesOptions = AdmissionOptions & {
  store: PolicyStore;
  /** Maximum size of a serving graph with its weights. */
  maxBytes: number;
};

type LoadedEntry = { policy: LocalPolicy; session: DecoderSession; lastRequestedMs: number };
/** The load that is in progress. */
type LoadAttempt = { id: string; lastSeenMs: number; error?: unknown };

const MAX_CACHED = 2;
/** Policies in memory at once: the cached ones, and one that is still in use or is being loaded. */
const MAX_LOADED = 3;
/** How long a request may take between requesting a policy and generating with it. */
const RELEASE_GRACE_MS = 2000;
/** If a load makes no progress for this long, the next request starts over. */
const LOAD_STALL_TIMEOUT_MS = 5000;
/** Timeout for one of the policies in memory to become unused. */
const EVICTION_TIMEOUT_MS = 15_000;
const POLL_INTERVAL_MS = 10;

export class LocalPolicies {
  private readonly options: LocalPoliciesOptions;
  private readonly admission: KvAdmission;
  /** Least recently requested first. */
  private readonly cache = new Map<string, LoadedEntry>();
  /** No longer cached, possibly still in use. */
  private readonly evicted = new Set<LoadedEntry>();
  /** One at a time: loading needs memory for the files beyond what stays. */
  private loading: LoadAttempt | null = null;

  constructor(options: LocalPoliciesOptions) {
    this.options = options;
    this.admission = new KvAdmission(options);
  }

  /** Why a policy cannot be computed here; null if it can. */
  findUnsupportedReason(manifest: Manifest): string | null {
    return explainUnsupported(manifest, this.options) ?? getRuntimeFailure();
  }

  /** Throws an AttuneError if the policy is unsupported here, missing or damaged. */
  async load(manifest: Manifest): Promise<LoadedPolicy> {
    const { id } = manifest;
    const reason = explainUnsupported(manifest, this.options);
    if (reason !== null) {
      const message = `policy ${id} cannot run in a Worker: ${reason}`;
      throw new AttuneError(message, { status: 503, code: 'policy_unsupported', retry: false });
    }
    return (await this.waitForLoaded(id)) ?? this.open(manifest);
  }

  /** The policy once it is loaded; null if the caller has to load it. */
  private async waitForLoaded(id: string): Promise<LoadedPolicy | null> {
    for (;;) {
      const entry = this.cache.get(id) ?? [...this.evicted].find(({ policy }) => policy.id === id);
      if (entry) return this.addToCache(entry);
      const other = this.loading;
      if (!other || Date.now() - other.lastSeenMs > LOAD_STALL_TIMEOUT_MS) return null;
      await sleep(POLL_INTERVAL_MS);
      if (other.id === id && other.error !== undefined) throw other.error;
    }
  }

  private async open(manifest: Manifest): Promise<LoadedPolicy> {
    const { id } = manifest;
    const attempt: LoadAttempt = { id, lastSeenMs: Date.now() };
    this.loading = attempt;
    const touch = () => {
      attempt.lastSeenMs = Date.now();
    };
    try {
      const runtime = await startRuntime();
      await this.evictOldest(touch);
      const { tokenizer, graph } = await readPackage(this.options.store, manifest, touch);
      const session = await openSession(runtime, manifest, graph);
      const createDecoder = () => new Decoder(session, runtime.Tensor, manifest.architecture);
      const { admission, options } = this;
      const policy = new LocalPolicy(id, manifest.architecture, { ...options, admission, tokenizer, createDecoder });
      return this.addToCache({ policy, session, lastRequestedMs: 0 });
    } catch (error) {
      attempt.error = error;
      throw error;
    } finally {
      if (this.loading === attempt) this.loading = null;
    }
  }

  private addToCache(entry: LoadedEntry): LoadedPolicy {
    const { id } = entry.policy;
    const previous = this.cache.get(id);
    // Two requests can have loaded the policy, after a stalled load.
    if (previous && previous !== entry) this.evicted.add(previous);
    this.evicted.delete(entry);
    this.cache.delete(id);
    this.cache.set(id, entry);
    entry.lastRequestedMs = Date.now();
    return entry.policy;
  }

  /** Makes room for one more policy: evicts the oldest, and waits until enough of the evicted ones are unused. */
  private async evictOldest(onPoll: () => void): Promise<void> {
    while (this.cache.size >= MAX_CACHED) {
      const [id, oldest] = this.cache.entries().next().value!;
      this.cache.delete(id);
      this.evicted.add(oldest);
    }
    for (const startedMs = Date.now(); ; await sleep(POLL_INTERVAL_MS)) {
      onPoll();
      await this.releaseUnused();
      if (this.cache.size + this.evicted.size < MAX_LOADED) return;
      if (Date.now() - startedMs < EVICTION_TIMEOUT_MS) continue;
      throw new AttuneError(
        `policy: a Worker holds at most ${MAX_LOADED} policies, and all of them are in use; retry later`,
        { status: 503, code: 'policies_busy' },
      );
    }
  }

  private async releaseUnused(): Promise<void> {
    for (const entry of this.evicted) {
      if (this.admission.isInUse(entry.policy) || Date.now() - entry.lastRequestedMs < RELEASE_GRACE_MS) continue;
      this.evicted.delete(entry);
      await entry.session.release();
    }
  }
}

function explainUnsupported(manifest: Manifest, { maxBytes, kvMemoryBytes }: LocalPoliciesOptions): string | null {
  if (manifest.kind === 'reward') return 'it is a reward, and a Worker computes policies only';
  const { precision } = manifest.serving;
  const { architecture } = manifest;
  const { contextLength } = architecture;
  // Quantized products round differently than on Node: some greedy tokens, and most sampled ones, would differ.
  if (precision !== 'fp32') {
    return `it is served at ${precision}, and a Worker computes fp32 only; publish it with PRECISION=fp32`;
  }
  const bytes = getServingBytes(manifest);
  if (bytes > maxBytes)
    return `its serving graph and weights have ${bytes} bytes, and a Worker computes up to ${maxBytes} (WORKER_POLICY_BYTES)`;
  // A prompt that fills the context is valid on Node, so it has to fit here too.
  const budget = { kvMemoryBytes, kvBytesPerPosition: kvBytesPerPosition(architecture, 'float32') };
  const maxLength = maxSequenceLength(budget, contextLength);
  if (maxLength >= contextLength) return null;
  return `its context has ${contextLength} tokens, and a Worker's ${kvMemoryBytes} bytes of keys and values hold ${Math.max(0, maxLength)}`;
}

/** Opens a session and checks that it computes finite values. */
async function openSession(
  runtime: Runtime,
  { id, architecture }: Manifest,
  graph: ServingGraph,
): Promise<DecoderSession> {
  let session: DecoderSession | undefined;
  try {
    session = await runtime.open(graph);
    await warmUp(new Decoder(session, runtime.Tensor, architecture));
    return session;
  } catch (error) {
    await session?.release();
    if (error instanceof AttuneError) throw error;
    throw policyUnusable(id, `its serving graph: ${getErrorMessage(error)}`);
  }
}
