// Which policies are loaded and which of them is active. A swap loads the new policy beside the old one, checks it, routes
// new generations to it and lets the old one drain; a generation stays on the policy it began with. If the new one fails
// to load, nothing has changed.
import { availableParallelism } from 'node:os';
import { AttuneError } from '../../shared/error.ts';
import { unknownPolicy } from '../../shared/store/registry.ts';
import type { Inference, LoadedPolicy } from './inference.ts';
import type { Instrumentation } from './instrumentation.ts';
import { loadPackage } from './load-package.ts';
import { PolicyRunner, type RunnerOptions, throwIfClosing } from './policy-runner.ts';

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
  instrumentation?: Instrumentation;
};

/** The name under which the active policy can be asked for. */
const ACTIVE_ALIAS = 'attune';
/** Policies besides the active one that stay loaded. */
const MAX_STANDBY = 2;

/** Policies that run on ONNX Runtime's native engine, each in its own thread. */
export function openInference(options: InferenceOptions): Inference {
  return new PolicyPool(options.folderOf, {
    threads: options.threads ?? availableParallelism(),
    maxRows: options.maxRows ?? 16,
    maxQueue: options.maxQueue ?? 64,
    kvMemory: options.kvMemory ?? 2 ** 30,
    instrumentation: options.instrumentation,
  });
}

class PolicyPool implements Inference {
  private current: PolicyRunner | null = null;
  /** Loaded or loading, the least recently used first; the active one is not among them. */
  private readonly standby = new Map<string, Promise<PolicyRunner>>();
  /** Swapped out and draining. */
  private readonly retiring = new Map<PolicyRunner, Promise<void>>();
  private swap: Promise<void> = Promise.resolve();
  private readonly closing = new AbortController();
  private readonly folderOf: (id: string) => Promise<string>;
  private readonly options: RunnerOptions;

  constructor(folderOf: (id: string) => Promise<string>, options: Omit<RunnerOptions, 'closing'>) {
    this.folderOf = folderOf;
    this.options = { ...options, closing: this.closing.signal };
  }

  active(): LoadedPolicy | null {
    return this.current;
  }

  listInUse(): string[] {
    const draining = Array.from(this.retiring.keys(), ({ id }) => id);
    return [...(this.current ? [this.current.id] : []), ...this.standby.keys(), ...draining];
  }

  async getPolicy(id: string = ACTIVE_ALIAS): Promise<LoadedPolicy> {
    if (id === this.current?.id) return this.current;
    if (id !== ACTIVE_ALIAS) return this.getStandby(id);
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
    this.swap = swap.catch(() => this.options.instrumentation?.recordRejectedPolicy(id));
    return swap;
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.swap;
    const slots = await Promise.allSettled(this.standby.values());
    for (const slot of slots) if (slot.status === 'fulfilled') this.retire(slot.value);
    if (this.current) this.retire(this.current);
    this.current = null;
    this.standby.clear();
    for (const slot of this.retiring.keys()) slot.cancelAll();
    await Promise.all(this.retiring.values());
  }

  private async swapTo(id: string, asked: number): Promise<void> {
    if (id === this.current?.id) return;
    const slot = await this.getStandby(id);
    this.standby.delete(id);
    const old = this.current;
    this.current = slot;
    if (old) this.retire(old);
    this.options.instrumentation?.recordSwap(id, (performance.now() - asked) / 1000);
  }

  /** A loaded policy that is not the active one. */
  private getStandby(id: string): Promise<PolicyRunner> {
    throwIfClosing(this.closing.signal);
    const slot = this.standby.get(id) ?? this.load(id);
    this.standby.delete(id);
    this.standby.set(id, slot);
    slot.catch(() => {
      if (this.standby.get(id) === slot) this.standby.delete(id);
    });
    if (this.standby.size > MAX_STANDBY) {
      const [oldest, evicted] = this.standby.entries().next().value!;
      this.standby.delete(oldest);
      evicted.then(
        (unused) => this.retire(unused),
        () => {},
      );
    }
    return slot;
  }

  private async load(id: string): Promise<PolicyRunner> {
    const slot = new PolicyRunner(id, await loadPackage(id, await this.findFolder(id)), this.options);
    await slot.load();
    return slot;
  }

  private async findFolder(id: string): Promise<string> {
    try {
      return await this.folderOf(id);
    } catch (error) {
      const isMissing =
        error instanceof AttuneError ? error.status === 404 : (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!isMissing) throw error;
      throw unknownPolicy(id);
    }
  }

  private retire(slot: PolicyRunner): void {
    this.retiring.set(
      slot,
      slot.retire().finally(() => this.retiring.delete(slot)),
    );
  }
}
