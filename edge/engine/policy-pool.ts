// Which policies are loaded and which of them is active. A swap loads the new policy beside the old one, checks it, routes
// new generations to it and lets the old one drain; a generation stays on the policy it began with. If the new one fails
// to load, nothing has changed.
import { availableParallelism } from 'node:os';
import { AttuneError } from '../../shared/error.ts';
import type { Inference, LoadedPolicy } from './inference.ts';
import type { Meter } from './instrumentation.ts';
import { openPackage } from './load-package.ts';
import { PolicySlot, refuseWhenClosing, type SlotOptions } from './policy-runner.ts';

export type InferenceOptions = {
  /** The folder of a policy's package; throws for an id that there is none of. */
  folderOf(id: string): Promise<string>;
  /** Threads inside one operator; all of the machine's unless told. */
  threads?: number;
  /** How many generations of a policy decode together. */
  maxRows?: number;
  /** How many more may wait. */
  maxQueue?: number;
  /** Bytes of keys and values that a policy may hold. */
  kvMemory?: number;
  /** Told of the work as it is done. */
  meter?: Meter;
};

/** The name under which the active policy can be asked for. */
const ALIAS = 'attune';
/** Policies besides the active one that stay loaded. */
const SPARE = 2;

/** Policies that run on ONNX Runtime's native engine, each in its own thread. */
export function openInference(options: InferenceOptions): Inference {
  return new PolicySlots(options.folderOf, {
    threads: options.threads ?? availableParallelism(),
    maxRows: options.maxRows ?? 16,
    maxQueue: options.maxQueue ?? 64,
    kvMemory: options.kvMemory ?? 2 ** 30,
    meter: options.meter,
  });
}

class PolicySlots implements Inference {
  private current: PolicySlot | null = null;
  /** Loaded or loading, the least recently used first; the active one is not among them. */
  private readonly spares = new Map<string, Promise<PolicySlot>>();
  /** Swapped out and draining. */
  private readonly retiring = new Map<PolicySlot, Promise<void>>();
  private swap: Promise<void> = Promise.resolve();
  private readonly closing = new AbortController();
  private readonly folderOf: (id: string) => Promise<string>;
  private readonly options: SlotOptions;

  constructor(folderOf: (id: string) => Promise<string>, options: Omit<SlotOptions, 'closing'>) {
    this.folderOf = folderOf;
    this.options = { ...options, closing: this.closing.signal };
  }

  active(): LoadedPolicy | null {
    return this.current;
  }

  inUse(): string[] {
    const draining = Array.from(this.retiring.keys(), ({ id }) => id);
    return [...(this.current ? [this.current.id] : []), ...this.spares.keys(), ...draining];
  }

  async policy(id: string = ALIAS): Promise<LoadedPolicy> {
    if (id === this.current?.id) return this.current;
    if (id !== ALIAS) return this.spare(id);
    if (this.current) return this.current;
    throw new AttuneError('policy: none is active yet; try again when /health says so', {
      status: 503,
      param: 'model',
      code: 'policy_not_loaded',
    });
  }

  activate(id: string): Promise<void> {
    // One at a time, so that the last to be asked for is the last to become active.
    const asked = performance.now();
    const swap = this.swap.then(() => this.swapTo(id, asked));
    this.swap = swap.catch(() => this.options.meter?.refused(id));
    return swap;
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.swap;
    const slots = await Promise.allSettled(this.spares.values());
    for (const slot of slots) if (slot.status === 'fulfilled') this.retire(slot.value);
    if (this.current) this.retire(this.current);
    this.current = null;
    this.spares.clear();
    for (const slot of this.retiring.keys()) slot.cancelAll();
    await Promise.all(this.retiring.values());
  }

  private async swapTo(id: string, asked: number): Promise<void> {
    if (id === this.current?.id) return;
    const slot = await this.spare(id);
    this.spares.delete(id);
    const old = this.current;
    this.current = slot;
    if (old) this.retire(old);
    this.options.meter?.swapped(id, (performance.now() - asked) / 1000);
  }

  /** A loaded policy that is not the active one. */
  private spare(id: string): Promise<PolicySlot> {
    refuseWhenClosing(this.closing.signal);
    const slot = this.spares.get(id) ?? this.load(id);
    this.spares.delete(id);
    this.spares.set(id, slot);
    slot.catch(() => {
      if (this.spares.get(id) === slot) this.spares.delete(id);
    });
    if (this.spares.size > SPARE) {
      const [oldest, evicted] = this.spares.entries().next().value!;
      this.spares.delete(oldest);
      evicted.then(
        (unused) => this.retire(unused),
        () => {},
      );
    }
    return slot;
  }

  private async load(id: string): Promise<PolicySlot> {
    const slot = new PolicySlot(id, await openPackage(id, await this.find(id)), this.options);
    await slot.warm();
    return slot;
  }

  private async find(id: string): Promise<string> {
    try {
      return await this.folderOf(id);
    } catch (error) {
      const isMissing =
        error instanceof AttuneError ? error.status === 404 : (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!isMissing) throw error;
      throw new AttuneError(`model: there is no policy ${id}; GET /v1/models lists those there are`, {
        status: 404,
        param: 'model',
        code: 'model_not_found',
      });
    }
  }

  private retire(slot: PolicySlot): void {
    this.retiring.set(
      slot,
      slot.retire().finally(() => this.retiring.delete(slot)),
    );
  }
}
