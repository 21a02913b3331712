// The loaded policies and the active one. A swap loads the new policy beside the old one, validates it and routes new
// generations to it; a generation stays on its policy. The old one stays loaded for ten minutes, for a swap back. If the new
// policy fails to load, nothing changes. A canary's candidate stays loaded beside the active one, so that its promotion loads nothing.

import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import { readManifest } from '../../shared/package/files.ts';
import { MANIFEST_FILE, refuseReward, unknownPolicy } from '../../shared/package/manifest.ts';
import type { PackageUse } from '../../shared/package/package-use.ts';
import { ACTIVE_ALIAS, type Inference, type LoadedPolicy, type LoadedReward } from './inference.ts';
import type { Instrumentation } from './instrumentation.ts';
import { noActivePolicy } from './policy-errors.ts';
import { PolicyRunner, type RunnerOptions, throwIfClosing } from './policy-runner.ts';
import { RewardRunner } from './reward-runner.ts';
import { RunnerPool } from './runner-pool.ts';
import type { Tenants } from './tenants.ts';
import { TokenizerThread } from './tokenizer-thread.ts';

export type InferenceOptions = {
  /** Returns the folder of a policy's package, whose files for this use are intact; throws for an unknown id. */
  getFolder(id: string, use?: PackageUse): Promise<string>;
  /** Threads inside one operator. Default: all of the machine's. */
  threads?: number;
  /** How many generations of a policy decode together. Default: 16. */
  maxRows?: number;
  /** How many more may be queued. Default: 64. */
  maxQueue?: number;
  /** Whether several callers share this server. Default: false. */
  tenants?: Tenants;
  /** Memory for keys and values, per policy. Default: 1 GiB. */
  kvMemoryBytes?: number;
  instrumentation?: Instrumentation;
};

/** Policies that stay loaded besides the active one. */
const MAX_STANDBY = 2;
/** Float32 graphs of policies that are served at another precision: one to be scored, and its reference. */
const MAX_SCORERS = 2;
/** Few rewards are in use at a time, and each has the size of a policy at float32. */
const MAX_REWARDS = 1;

/** How long a scorer, a reward or the predecessor that nobody uses stays loaded. */
const IDLE_MS = 10 * 60_000;

/** Runs policies on native ONNX Runtime, each in its own thread; one more thread tokenizes for all of them. */
export function openInference(options: InferenceOptions): Inference {
  return new PolicyPool(options.getFolder, {
    threads: options.threads ?? availableParallelism(),
    maxRows: options.maxRows ?? 16,
    maxQueue: options.maxQueue ?? 64,
    tenants: options.tenants,
    kvMemoryBytes: options.kvMemoryBytes ?? 2 ** 30,
    instrumentation: options.instrumentation,
  });
}

class PolicyPool implements Inference {
  private current: PolicyRunner | null = null;
  private candidate: PolicyRunner | null = null;
  /** Neither the active policy nor the candidate is among them. */
  private readonly standby = new RunnerPool(MAX_STANDBY, (id) => this.loadPolicy(id, 'serve'));
  /** The one that was active before, with its prefix cache: a rollback is immediate. */
  private readonly predecessor = new RunnerPool(1, (id) => this.loadPolicy(id, 'serve'), IDLE_MS);
  private readonly scorers = new RunnerPool(MAX_SCORERS, (id) => this.loadPolicy(id, 'score'), IDLE_MS);
  private readonly rewards = new RunnerPool(MAX_REWARDS, (id) => this.loadReward(id), IDLE_MS);
  private swap: Promise<void> = Promise.resolve();
  private candidateChange: Promise<void> = Promise.resolve();
  private readonly closing = new AbortController();
  private readonly getFolder: InferenceOptions['getFolder'];
  private readonly options: Omit<RunnerOptions, 'graph'>;
  private readonly tokenizerThread: TokenizerThread;

  constructor(
    getFolder: InferenceOptions['getFolder'],
    options: Omit<RunnerOptions, 'closing' | 'tokenizerThread' | 'graph'>,
  ) {
    this.getFolder = getFolder;
    this.tokenizerThread = new TokenizerThread(options);
    this.options = { ...options, tokenizerThread: this.tokenizerThread, closing: this.closing.signal };
  }

  getActivePolicy(): LoadedPolicy | null {
    return this.current;
  }

  getCandidate(): LoadedPolicy | null {
    return this.candidate;
  }

  listInUse(): string[] {
    const pools = [this.predecessor, this.standby, this.scorers, this.rewards];
    return [this.current?.id ?? [], this.candidate?.id ?? [], pools.map(({ ids }) => ids)].flat(2);
  }

  async getPolicy(id: string = ACTIVE_ALIAS): Promise<LoadedPolicy> {
    refuseReward(id);
    for (const runner of [this.current, this.candidate]) if (id === runner?.id) return runner;
    if (id === ACTIVE_ALIAS) return this.current ?? Promise.reject(noActivePolicy());
    throwIfClosing(this.closing.signal);
    return (this.predecessor.has(id) ? this.predecessor : this.standby).get(id);
  }

  async getScorer(model: string = ACTIVE_ALIAS): Promise<LoadedPolicy> {
    refuseReward(model);
    throwIfClosing(this.closing.signal);
    const id = model === ACTIVE_ALIAS ? (await this.getPolicy()).id : model;
    return (await isServedAtFloat32(await this.findFolder(id, 'serve'))) ? this.getPolicy(id) : this.scorers.get(id);
  }

  async getReward(id: string): Promise<LoadedReward> {
    throwIfClosing(this.closing.signal);
    return this.rewards.get(id);
  }

  activate(id: string): Promise<void> {
    // One swap at a time, so that the last one requested is the last to become active.
    const requestedAtMs = performance.now();
    const swap = this.swap.then(() => this.swapTo(id, requestedAtMs));
    this.swap = swap.catch(() => this.options.instrumentation?.recordRejectedPolicy(id));
    return swap;
  }

  setCandidate(id: string | null): Promise<void> {
    // Apart from swaps, which do not wait for a candidate that loads.
    const change = this.candidateChange.then(() => this.changeCandidate(id));
    this.candidateChange = change.catch(() => {
      if (id !== null) this.options.instrumentation?.recordRejectedPolicy(id);
    });
    return change;
  }

  async close(): Promise<void> {
    this.closing.abort();
    const tokenizerClosed = this.tokenizerThread.close();
    await Promise.all([this.swap, this.candidateChange]);
    for (const runner of [this.current, this.candidate]) if (runner) this.standby.retire(runner);
    this.current = null;
    this.candidate = null;
    const cancelAll = (runner: PolicyRunner) => runner.cancelAll();
    const policies = [this.predecessor, this.standby, this.scorers].map((pool) => pool.retireAll(cancelAll));
    await Promise.all([...policies, this.rewards.retireAll(), tokenizerClosed]);
  }

  private async swapTo(id: string, requestedAtMs: number): Promise<void> {
    if (id === this.current?.id) return;
    throwIfClosing(this.closing.signal);
    // A candidate at once: another change could retire it before the next line.
    const runner = this.candidate?.id === id ? this.candidate : await this.takeRunner(id);
    const previous = this.current;
    // Also if it was loaded as the candidate meanwhile.
    if (runner === this.candidate) this.candidate = null;
    this.current = runner;
    if (previous) this.predecessor.put(previous);
    this.options.instrumentation?.recordSwap(id, (performance.now() - requestedAtMs) / 1000);
  }

  private async changeCandidate(id: string | null): Promise<void> {
    if (id === (this.candidate?.id ?? null)) return;
    throwIfClosing(this.closing.signal);
    if (this.candidate) this.standby.retire(this.candidate);
    this.candidate = null;
    if (id === null || id === this.current?.id) return;
    const runner = await this.takeRunner(id);
    // Unless it became active meanwhile.
    if (runner !== this.current) this.candidate = runner;
  }

  private async takeRunner(id: string): Promise<PolicyRunner> {
    if (this.predecessor.has(id)) return this.predecessor.take(id);
    // Its memory is for the policy that is loaded next. Not awaited: its last generations may take minutes.
    void this.predecessor.retireAll();
    return this.standby.take(id);
  }

  private async loadPolicy(id: string, graph: RunnerOptions['graph']): Promise<PolicyRunner> {
    // The metrics of a policy are of what it serves.
    const instrumentation = graph === 'serve' ? this.options.instrumentation : undefined;
    return PolicyRunner.open(id, await this.findFolder(id, graph === 'serve' ? 'serve' : 'all'), {
      ...this.options,
      graph,
      instrumentation,
    });
  }

  private async loadReward(id: string): Promise<RewardRunner> {
    const folder = await this.getFolder(id);
    const runner = new RewardRunner(id, folder, await readArchitecture(folder, 'reward'), this.options);
    await runner.load();
    return runner;
  }

  private async findFolder(id: string, use: PackageUse): Promise<string> {
    try {
      return await this.getFolder(id, use);
    } catch (error) {
      const isMissing =
        error instanceof AttuneError ? error.status === 404 : (error as NodeJS.ErrnoException).code === 'ENOENT';
      throw isMissing ? unknownPolicy(id) : error;
    }
  }
}

/** Such a policy scores as it serves. A folder without policy.json is a bare checkpoint with float32 graphs. */
async function isServedAtFloat32(folder: string): Promise<boolean> {
  return !existsSync(join(folder, MANIFEST_FILE)) || (await readManifest(folder)).serving.precision === 'fp32';
}
