// The loaded policies and the active one. A swap loads the new policy beside the old one, validates it, routes new
// generations to it and drains the old one; a generation stays on its policy. If the new policy fails to load, nothing
// changes.
import { availableParallelism } from 'node:os';
import { LRUCache } from 'lru-cache';
import { AttuneError } from '../../shared/error.ts';
import { refuseReward, unknownPolicy } from '../../shared/package/manifest.ts';
import { ACTIVE_ALIAS, type Inference, type LoadedPolicy } from './inference.ts';
import type { Instrumentation } from './instrumentation.ts';
import { loadPackage } from './load-package.ts';
import { noActivePolicy } from './policy-errors.ts';
import { PolicyRunner, type RunnerOptions, throwIfClosing } from './policy-runner.ts';
import { TokenizerThread } from './tokenizer-thread.ts';

export type InferenceOptions = {
  /** Returns the folder of a policy's package; throws for an unknown id. */
  getFolder(id: string): Promise<string>;
  /** Threads inside one operator. Default: all of the machine's. */
  threads?: number;
  /** How many generations of a policy decode together. Default: 16. */
  maxRows?: number;
  /** How many more may be queued. Default: 64. */
  maxQueue?: number;
  /** Whether several callers share this server. Default: false. */
  isShared?: boolean;
  /** Memory for keys and values, per policy. Default: 1 GiB. */
  kvMemoryBytes?: number;
  instrumentation?: Instrumentation;
};

/** Policies that stay loaded besides the active one. */
const MAX_STANDBY = 2;

/** Runs policies on native ONNX Runtime, each in its own thread; one more thread tokenizes for all of them. */
export function openInference(options: InferenceOptions): Inference {
  return new PolicyPool(options.getFolder, {
    threads: options.threads ?? availableParallelism(),
    maxRows: options.maxRows ?? 16,
    maxQueue: options.maxQueue ?? 64,
    isShared: options.isShared === true,
    kvMemoryBytes: options.kvMemoryBytes ?? 2 ** 30,
    instrumentation: options.instrumentation,
  });
}

class PolicyPool implements Inference {
  private current: PolicyRunner | null = null;
  /** Loaded or loading; the active policy is not among them. */
  private readonly standby = new LRUCache<string, Promise<PolicyRunner>>({
    max: MAX_STANDBY,
    dispose: (evicted, _id, reason) => {
      if (reason !== 'evict') return;
      evicted.then(
        (runner) => this.retire(runner),
        () => {},
      );
    },
  });
  /** Swapped out or evicted, and draining. */
  private readonly retiring = new Map<PolicyRunner, Promise<void>>();
  private swap: Promise<void> = Promise.resolve();
  private readonly closing = new AbortController();
  private readonly getFolder: (id: string) => Promise<string>;
  private readonly options: RunnerOptions;
  private readonly tokenizerThread: TokenizerThread;

  constructor(getFolder: (id: string) => Promise<string>, options: Omit<RunnerOptions, 'closing' | 'tokenizerThread'>) {
    this.getFolder = getFolder;
    this.tokenizerThread = new TokenizerThread(options);
    this.options = { ...options, tokenizerThread: this.tokenizerThread, closing: this.closing.signal };
  }

  getActivePolicy(): LoadedPolicy | null {
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
    throw noActivePolicy();
  }

  activate(id: string): Promise<void> {
    // One swap at a time, so that the last one requested is the last to become active.
    const requestedAtMs = performance.now();
    const swap = this.swap.then(() => this.swapTo(id, requestedAtMs));
    this.swap = swap.catch(() => this.options.instrumentation?.recordRejectedPolicy(id));
    return swap;
  }

  async close(): Promise<void> {
    this.closing.abort();
    const tokenizerClosed = this.tokenizerThread.close();
    await this.swap;
    const loads = await Promise.allSettled(this.standby.values());
    for (const load of loads) if (load.status === 'fulfilled') this.retire(load.value);
    if (this.current) this.retire(this.current);
    this.current = null;
    this.standby.clear();
    for (const runner of this.retiring.keys()) runner.cancelAll();
    await Promise.all([...this.retiring.values(), tokenizerClosed]);
  }

  private async swapTo(id: string, requestedAtMs: number): Promise<void> {
    if (id === this.current?.id) return;
    const runner = await this.getStandby(id);
    this.standby.delete(id);
    const previous = this.current;
    this.current = runner;
    if (previous) this.retire(previous);
    this.options.instrumentation?.recordSwap(id, (performance.now() - requestedAtMs) / 1000);
  }

  /** Returns a policy that is not the active one, and loads it if it is not in standby. */
  private getStandby(id: string): Promise<PolicyRunner> {
    throwIfClosing(this.closing.signal);
    refuseReward(id);
    const loaded = this.standby.get(id);
    if (loaded) return loaded;
    const loading = this.load(id);
    this.standby.set(id, loading);
    loading.catch(() => {
      if (this.standby.peek(id) === loading) this.standby.delete(id);
    });
    return loading;
  }

  private async load(id: string): Promise<PolicyRunner> {
    const runner = new PolicyRunner(
      id,
      await loadPackage(id, await this.findFolder(id), this.tokenizerThread),
      this.options,
    );
    await runner.load();
    return runner;
  }

  private async findFolder(id: string): Promise<string> {
    try {
      return await this.getFolder(id);
    } catch (error) {
      const isMissing =
        error instanceof AttuneError ? error.status === 404 : (error as NodeJS.ErrnoException).code === 'ENOENT';
      throw isMissing ? unknownPolicy(id) : error;
    }
  }

  private retire(runner: PolicyRunner): void {
    this.retiring.set(
      runner,
      runner.retire().finally(() => this.retiring.delete(runner)),
    );
  }
}
