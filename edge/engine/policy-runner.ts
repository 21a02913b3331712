// One policy and the thread that runs it. The thread may come and go (it died; the policy was swapped out and somebody
// still held it) while the policy, being immutable, stays what it is: a generation that finds no thread waits for one.
import { setTimeout } from 'node:timers/promises';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { Backoff } from './backoff.ts';
import { GenerationStream } from './generation-stream.ts';
import type { GenerationEvent, GenerationInput, LoadedPolicy } from './inference.ts';
import type { Instrumentation } from './instrumentation.ts';
import type { PolicyPackage } from './load-package.ts';
import { epochSeconds } from './request.ts';
import { RequestTimer } from './request-timer.ts';
import type { StepResult } from './scheduler.ts';
import { validatePrompt } from './validate-prompt.ts';
import { WorkerClient } from './worker-client.ts';

export type RunnerOptions = {
  threads: number;
  maxRows: number;
  maxQueue: number;
  kvMemory: number;
  instrumentation: Instrumentation | undefined;
  closing: AbortSignal;
};

export class PolicyRunner implements LoadedPolicy {
  readonly id: string;
  readonly architecture: Architecture;
  readonly tokenizer: Tokenizer;
  private readonly folder: string;
  private readonly options: RunnerOptions;
  private worker: WorkerClient | null = null;
  private starting: Promise<WorkerClient> | null = null;
  private closing: Promise<void> = Promise.resolve();
  private readonly backoff = new Backoff();
  private readonly generations = new Set<GenerationStream>();
  private choiceCount = 0;
  private isRetired = false;

  constructor(id: string, { folder, architecture, tokenizer }: PolicyPackage, options: RunnerOptions) {
    this.id = id;
    this.folder = folder;
    this.architecture = architecture;
    this.tokenizer = tokenizer;
    this.options = options;
  }

  /** Resolves when the policy is loaded and has computed something finite. */
  async load(): Promise<void> {
    if (!this.worker) await this.startWorker();
  }

  generate(input: GenerationInput, signal?: AbortSignal): AsyncIterable<GenerationEvent> {
    this.admit(input);
    const { instrumentation: meter } = this.options;
    const watch = meter && new RequestTimer(meter, this.id, input.promptIds.length);
    const generation = new GenerationStream(this.tokenizer, input, watch);
    if (signal?.aborted) {
      generation.cancel();
      return generation;
    }
    this.generations.add(generation);
    this.choiceCount += input.n;
    const abort = () => generation.cancel();
    signal?.addEventListener('abort', abort);
    void generation.done.then(() => {
      signal?.removeEventListener('abort', abort);
      this.generations.delete(generation);
      this.choiceCount -= input.n;
      this.closeIfUnused();
    });
    const arrived = epochSeconds();
    if (this.worker) this.submit(this.worker, generation, input, arrived);
    else {
      this.startWorker().then(
        (thread) => this.submit(thread, generation, input, arrived),
        (error: Error) => generation.onError(error),
      );
    }
    return generation;
  }

  /** Lets the thread go as soon as nothing runs on it; resolves when it is gone. */
  async retire(): Promise<void> {
    this.isRetired = true;
    await this.starting?.catch(() => {});
    await Promise.all(Array.from(this.generations, (generation) => generation.done));
    this.closeIfUnused();
    await this.closing;
  }

  /** Ends what runs with what it has. */
  cancelAll(): void {
    for (const generation of this.generations) generation.cancel();
  }

  private admit({ promptIds, n }: GenerationInput): void {
    throwIfClosing(this.options.closing);
    validatePrompt(promptIds, this, this.options.kvMemory);
    const room = this.options.maxRows + this.options.maxQueue;
    if (this.choiceCount > 0 && this.choiceCount + n > room) {
      throw new AttuneError(
        `generation: ${this.choiceCount} generations run or wait, and there is room for ${room}; try again soon`,
        { status: 429, code: 'queue_full', retry: true },
      );
    }
  }

  private submit(thread: WorkerClient, generation: GenerationStream, input: GenerationInput, arrived: number): void {
    if (generation.isDone) return;
    const { promptIds, n, tenant = '', sharedLength = 0 } = input;
    const { stop: _, ...sampling } = input.sampling;
    const id = thread.submit({ promptIds, sharedLength, tenant, sampling, n, arrivedAt: arrived }, generation);
    generation.onAbort = (index) => thread.cancel(id, index);
  }

  private startWorker(): Promise<WorkerClient> {
    this.starting ??= this.openWorker().finally(() => {
      this.starting = null;
    });
    return this.starting;
  }

  private async openWorker(): Promise<WorkerClient> {
    const { id, folder, architecture, options } = this;
    const { threads, maxRows, kvMemory, instrumentation: meter, closing } = options;
    const { delayMs: delay } = this.backoff;
    if (delay > 0) await setTimeout(delay, undefined, { signal: closing }).catch(() => throwIfClosing(closing));
    const report = (turn: StepResult['stats']) => meter?.recordStep({ policyId: id, ...turn });
    const thread = await WorkerClient.open(id, { folder, architecture, threads, maxRows, kvMemory }, report);
    this.backoff.recordStart();
    this.worker = thread;
    void thread.ended.then((error) => {
      if (this.worker !== thread) return;
      this.worker = null;
      if (error) this.backoff.recordCrash();
      // A thread that nobody asked to end is replaced; if that fails too, the next generation tries and reports it.
      if (error && !this.isRetired && !this.options.closing.aborted) this.startWorker().catch(() => {});
    });
    return thread;
  }

  private closeIfUnused(): void {
    if (!this.isRetired || this.generations.size > 0 || !this.worker) return;
    const { worker: thread } = this;
    this.worker = null;
    this.closing = Promise.all([this.closing, thread.close()]).then(() => {});
  }
}

export function throwIfClosing(closing: AbortSignal): void {
  if (!closing.aborted) return;
  throw new AttuneError('generation: the server is closing; send the request to another, or again later', {
    status: 503,
    code: 'closing',
  });
}
