// Policies that this isolate computes: loaded from the store, warmed up, and two of them kept. One that is too large, or
// that the runtime cannot compute here, is refused with the reason, so that the request goes elsewhere.
import { Decoder, type DecoderSession } from '../../shared/decoder/decoder.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import type { PolicyStore } from '../../shared/store/store.ts';
import type { LoadedPolicy } from '../engine/inference.ts';
import { maxSequenceLength } from '../engine/kv-budget.ts';
import { policyUnusable, warmUp } from '../engine/validate-package.ts';
import { type AdmissionOptions, KvAdmission } from './kv-admission.ts';
import { getServingBytes, readPackage } from './load-package.ts';
import { LocalPolicy } from './local-policy.ts';
import { pause } from './pause.ts';
import { getRuntimeFailure, type Runtime, type ServingGraph, startRuntime } from './wasm-runtime.ts';

export type LocalPoliciesOptions = AdmissionOptions & {
  store: PolicyStore;
  /** The largest serving graph, its weights included, that is computed here. */
  maxBytes: number;
};

type LoadedEntry = { policy: LocalPolicy; session: DecoderSession; lastRequestedMs: number };
/** A request that loads a policy, and when it last showed that it lives. */
type LoadAttempt = { id: string; lastSeenMs: number; error?: unknown };

/** Policies that stay loaded, and those that are in memory at once: one more, while it is still in use or comes. */
const MAX_CACHED = 2;
const MAX_LOADED = 3;
/** Milliseconds in which a request begins to generate on what it has asked for. */
const RELEASE_GRACE_MS = 2000;
/** Milliseconds after which one request loads what another had begun to load. */
const LOAD_SILENCE_TIMEOUT_MS = 5000;
/** Milliseconds in which one of the policies in memory has to come out of use. */
const EVICTION_TIMEOUT_MS = 15_000;
/** Milliseconds between two looks at what others do. */
const POLL_INTERVAL_MS = 10;

export class LocalPolicies {
  private readonly options: LocalPoliciesOptions;
  private readonly admission: KvAdmission;
  /** The least recently asked for first. */
  private readonly cache = new Map<string, LoadedEntry>();
  /** No longer kept, and maybe still in use. */
  private readonly evicted = new Set<LoadedEntry>();
  /** One at a time: each takes memory for its files besides what it keeps. */
  private loading: LoadAttempt | null = null;

  constructor(options: LocalPoliciesOptions) {
    this.options = options;
    this.admission = new KvAdmission(options);
  }

  /** Why a policy cannot be computed here; null where it can. */
  findUnsupportedReason(manifest: Manifest): string | null {
    return explainUnsupported(manifest, this.options) ?? getRuntimeFailure();
  }

  /** Throws an AttuneError where it is refused, missing or damaged. */
  async load(manifest: Manifest): Promise<LoadedPolicy> {
    const { id } = manifest;
    const reason = explainUnsupported(manifest, this.options);
    if (reason !== null) {
      const message = `policy ${id} is not computed in a Worker: ${reason}`;
      throw new AttuneError(message, { status: 503, code: 'policy_elsewhere', retry: false });
    }
    return (await this.waitForLoaded(id)) ?? this.open(manifest);
  }

  /** Null where the caller is the one to load it. */
  private async waitForLoaded(id: string): Promise<LoadedPolicy | null> {
    for (;;) {
      const kept = this.cache.get(id) ?? [...this.evicted].find(({ policy }) => policy.id === id);
      if (kept) return this.addToCache(kept);
      const other = this.loading;
      if (!other || Date.now() - other.lastSeenMs > LOAD_SILENCE_TIMEOUT_MS) return null;
      await pause(POLL_INTERVAL_MS);
      if (other.id === id && other.error !== undefined) throw other.error;
    }
  }

  private async open(manifest: Manifest): Promise<LoadedPolicy> {
    const { id } = manifest;
    const load: LoadAttempt = { id, lastSeenMs: Date.now() };
    this.loading = load;
    const see = () => {
      load.lastSeenMs = Date.now();
    };
    try {
      const runtime = await startRuntime();
      await this.evictOldest(see);
      const { tokenizer, graph } = await readPackage(this.options.store, manifest, see);
      const session = await openSession(runtime, manifest, graph);
      const makeDecoder = () => new Decoder(session, runtime.Tensor, manifest.architecture);
      const { admission: room, options } = this;
      const policy = new LocalPolicy(id, manifest.architecture, {
        ...options,
        admission: room,
        tokenizer,
        makeDecoder,
      });
      return this.addToCache({ policy, session, lastRequestedMs: 0 });
    } catch (error) {
      load.error = error;
      throw error;
    } finally {
      if (this.loading === load) this.loading = null;
    }
  }

  private addToCache(kept: LoadedEntry): LoadedPolicy {
    const { id } = kept.policy;
    const before = this.cache.get(id);
    // Two requests can have loaded it, where the first was taken for dead.
    if (before && before !== kept) this.evicted.add(before);
    this.evicted.delete(kept);
    this.cache.delete(id);
    this.cache.set(id, kept);
    kept.lastRequestedMs = Date.now();
    return kept.policy;
  }

  /** Before another one comes: lets the oldest go, and waits until what it takes is free. */
  private async evictOldest(onLook: () => void): Promise<void> {
    while (this.cache.size >= MAX_CACHED) {
      const [id, oldest] = this.cache.entries().next().value!;
      this.cache.delete(id);
      this.evicted.add(oldest);
    }
    for (const began = Date.now(); ; await pause(POLL_INTERVAL_MS)) {
      onLook();
      await this.releaseUnused();
      if (this.cache.size + this.evicted.size < MAX_LOADED) return;
      if (Date.now() - began < EVICTION_TIMEOUT_MS) continue;
      throw new AttuneError('policy: a Worker holds three at most, and all of them are in use; try again soon', {
        status: 503,
        code: 'policies_busy',
      });
    }
  }

  private async releaseUnused(): Promise<void> {
    for (const kept of this.evicted) {
      if (this.admission.isInUse(kept.policy) || Date.now() - kept.lastRequestedMs < RELEASE_GRACE_MS) continue;
      this.evicted.delete(kept);
      await kept.session.release();
    }
  }
}

function explainUnsupported(
  manifest: Manifest,
  { maxBytes: mostBytes, kvMemory }: LocalPoliciesOptions,
): string | null {
  const { precision } = manifest.serving;
  const { contextLength } = manifest.architecture;
  // Quantized products are rounded otherwise than on Node: some greedy tokens, and most sampled ones, would differ.
  if (precision !== 'fp32') {
    return `it is served at ${precision}, and a Worker computes fp32 only; publish it with PRECISION=fp32`;
  }
  const bytes = getServingBytes(manifest);
  if (bytes > mostBytes)
    return `its serving graph and weights have ${bytes} bytes, and a Worker computes up to ${mostBytes} (WORKER_POLICY_BYTES)`;
  // Elsewhere the same prompt would be answered.
  const reach = maxSequenceLength(kvMemory, manifest.architecture);
  if (reach >= contextLength) return null;
  return `its context has ${contextLength} tokens, and a Worker's ${kvMemory} bytes of keys and values have room for ${Math.max(0, reach)}`;
}

/** A session that has computed something finite. */
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
    throw policyUnusable(id, `its serving graph: ${error instanceof Error ? error.message : error}`);
  }
}
