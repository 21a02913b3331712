// Policies that this isolate computes: loaded from the store, warmed up, and two of them kept. One that is too large, or
// that the runtime cannot compute here, is refused with the reason, so that the request goes elsewhere.
import { Decoder, type DecoderSession } from '../../shared/decoder/decoder.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import type { PolicyStore } from '../../shared/store/store.ts';
import type { LoadedPolicy } from '../engine/inference.ts';
import { reachWithin } from '../engine/kv-budget.ts';
import { unusable } from '../engine/package-errors.ts';
import { warmUp } from '../engine/warm-up.ts';
import { Room, type RoomOptions } from './kv-admission.ts';
import { readPackage, servingBytes } from './load-package.ts';
import { IsolatePolicy } from './local-policy.ts';
import { pause } from './pause.ts';
import { type Graph, type Runtime, runtimeFailure, startRuntime } from './wasm-runtime.ts';

export type IsolateOptions = RoomOptions & {
  store: PolicyStore;
  /** The largest serving graph, its weights included, that is computed here. */
  mostBytes: number;
};

type Kept = { policy: IsolatePolicy; session: DecoderSession; asked: number };
/** A request that loads a policy, and when it last showed that it lives. */
type Load = { id: string; seen: number; error?: unknown };

/** Policies that stay loaded, and those that are in memory at once: one more, while it is still in use or comes. */
const MOST_KEPT = 2;
const MOST_LOADED = 3;
/** Milliseconds in which a request begins to generate on what it has asked for. */
const GRACE = 2000;
/** Milliseconds after which one request loads what another had begun to load. */
const PATIENCE = 5000;
/** Milliseconds in which one of the policies in memory has to come out of use. */
const LONGEST_WAIT = 15_000;
/** Milliseconds between two looks at what others do. */
const LOOK = 10;

export class IsolatePolicies {
  private readonly options: IsolateOptions;
  private readonly room: Room;
  /** The least recently asked for first. */
  private readonly kept = new Map<string, Kept>();
  /** No longer kept, and maybe still in use. */
  private readonly dropped = new Set<Kept>();
  /** One at a time: each takes memory for its files besides what it keeps. */
  private loading: Load | null = null;

  constructor(options: IsolateOptions) {
    this.options = options;
    this.room = new Room(options);
  }

  /** Why a policy cannot be computed here; null where it can. */
  refusal(manifest: Manifest): string | null {
    return explainUnfit(manifest, this.options) ?? runtimeFailure();
  }

  /** Throws an AttuneError where it is refused, missing or damaged. */
  async load(manifest: Manifest): Promise<LoadedPolicy> {
    const { id } = manifest;
    const reason = explainUnfit(manifest, this.options);
    if (reason !== null) {
      const message = `policy ${id} is not computed in a Worker: ${reason}`;
      throw new AttuneError(message, { status: 503, code: 'policy_elsewhere', retry: false });
    }
    return (await this.findKept(id)) ?? this.open(manifest);
  }

  /** Null where the caller is the one to load it. */
  private async findKept(id: string): Promise<LoadedPolicy | null> {
    for (;;) {
      const kept = this.kept.get(id) ?? [...this.dropped].find(({ policy }) => policy.id === id);
      if (kept) return this.keep(kept);
      const other = this.loading;
      if (!other || Date.now() - other.seen > PATIENCE) return null;
      await pause(LOOK);
      if (other.id === id && other.error !== undefined) throw other.error;
    }
  }

  private async open(manifest: Manifest): Promise<LoadedPolicy> {
    const { id } = manifest;
    const load: Load = { id, seen: Date.now() };
    this.loading = load;
    const see = () => {
      load.seen = Date.now();
    };
    try {
      const runtime = await startRuntime();
      await this.makeRoom(see);
      const { tokenizer, graph } = await readPackage(this.options.store, manifest, see);
      const session = await openSession(runtime, manifest, graph);
      const makeDecoder = () => new Decoder(session, runtime.Tensor, manifest.architecture);
      const { room, options } = this;
      const policy = new IsolatePolicy(id, manifest.architecture, { ...options, room, tokenizer, makeDecoder });
      return this.keep({ policy, session, asked: 0 });
    } catch (error) {
      load.error = error;
      throw error;
    } finally {
      if (this.loading === load) this.loading = null;
    }
  }

  private keep(kept: Kept): LoadedPolicy {
    const { id } = kept.policy;
    const before = this.kept.get(id);
    // Two requests can have loaded it, where the first was taken for dead.
    if (before && before !== kept) this.dropped.add(before);
    this.dropped.delete(kept);
    this.kept.delete(id);
    this.kept.set(id, kept);
    kept.asked = Date.now();
    return kept.policy;
  }

  /** Before another one comes: lets the oldest go, and waits until what it takes is free. */
  private async makeRoom(onLook: () => void): Promise<void> {
    while (this.kept.size >= MOST_KEPT) {
      const [id, oldest] = this.kept.entries().next().value!;
      this.kept.delete(id);
      this.dropped.add(oldest);
    }
    for (const began = Date.now(); ; await pause(LOOK)) {
      onLook();
      await this.releaseUnused();
      if (this.kept.size + this.dropped.size < MOST_LOADED) return;
      if (Date.now() - began < LONGEST_WAIT) continue;
      throw new AttuneError('policy: a Worker holds three at most, and all of them are in use; try again soon', {
        status: 503,
        code: 'policies_busy',
      });
    }
  }

  private async releaseUnused(): Promise<void> {
    for (const kept of this.dropped) {
      if (this.room.isUsed(kept.policy) || Date.now() - kept.asked < GRACE) continue;
      this.dropped.delete(kept);
      await kept.session.release();
    }
  }
}

function explainUnfit(manifest: Manifest, { mostBytes, kvMemory }: IsolateOptions): string | null {
  const { precision } = manifest.serving;
  const { contextLength } = manifest.architecture;
  // Quantized products are rounded otherwise than on Node: some greedy tokens, and most sampled ones, would differ.
  if (precision !== 'fp32') {
    return `it is served at ${precision}, and a Worker computes fp32 only; publish it with PRECISION=fp32`;
  }
  const bytes = servingBytes(manifest);
  if (bytes > mostBytes)
    return `its serving graph and weights have ${bytes} bytes, and a Worker computes up to ${mostBytes} (WORKER_POLICY_BYTES)`;
  // Elsewhere the same prompt would be answered.
  const reach = reachWithin(kvMemory, manifest.architecture);
  if (reach >= contextLength) return null;
  return `its context has ${contextLength} tokens, and a Worker's ${kvMemory} bytes of keys and values have room for ${Math.max(0, reach)}`;
}

/** A session that has computed something finite. */
async function openSession(runtime: Runtime, { id, architecture }: Manifest, graph: Graph): Promise<DecoderSession> {
  let session: DecoderSession | undefined;
  try {
    session = await runtime.open(graph);
    await warmUp(new Decoder(session, runtime.Tensor, architecture));
    return session;
  } catch (error) {
    await session?.release();
    if (error instanceof AttuneError) throw error;
    throw unusable(id, `its serving graph: ${error instanceof Error ? error.message : error}`);
  }
}
