// One policy and the thread that runs it. The thread may come and go (it died; the policy was swapped out and somebody
// still held it) while the policy, being immutable, stays what it is: a generation that finds no thread waits for one.
import { setTimeout } from 'node:timers/promises';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { Backoff } from './backoff.ts';
import { Generation } from './generation-stream.ts';
import type { GenerationEvent, GenerationInput, LoadedPolicy } from './inference.ts';
import type { Meter } from './instrumentation.ts';
import type { Package } from './load-package.ts';
import { clock } from './request.ts';
import { Stopwatch } from './request-timer.ts';
import type { Turn } from './scheduler.ts';
import { checkPrompt } from './validate-prompt.ts';
import { PolicyThread } from './worker-client.ts';

export type SlotOptions = {
  threads: number;
  maxRows: number;
  maxQueue: number;
  kvMemory: number;
  meter: Meter | undefined;
  closing: AbortSignal;
};

export class PolicySlot implements LoadedPolicy {
  readonly id: string;
  readonly architecture: Architecture;
  readonly tokenizer: Tokenizer;
  private readonly folder: string;
  private readonly options: SlotOptions;
  private thread: PolicyThread | null = null;
  private starting: Promise<PolicyThread> | null = null;
  private closing: Promise<void> = Promise.resolve();
  private readonly backoff = new Backoff();
  private readonly running = new Set<Generation>();
  private load = 0;
  private isRetired = false;

  constructor(id: string, { folder, architecture, tokenizer }: Package, options: SlotOptions) {
    this.id = id;
    this.folder = folder;
    this.architecture = architecture;
    this.tokenizer = tokenizer;
    this.options = options;
  }

  /** Resolves when the policy is loaded and has computed something finite. */
  async warm(): Promise<void> {
    if (!this.thread) await this.start();
  }

  generate(input: GenerationInput, signal?: AbortSignal): AsyncIterable<GenerationEvent> {
    this.check(input);
    const { meter } = this.options;
    const watch = meter && new Stopwatch(meter, this.id, input.promptIds.length);
    const generation = new Generation(this.tokenizer, input, watch);
    if (signal?.aborted) {
      generation.cancel();
      return generation;
    }
    this.running.add(generation);
    this.load += input.n;
    const abort = () => generation.cancel();
    signal?.addEventListener('abort', abort);
    void generation.over.then(() => {
      signal?.removeEventListener('abort', abort);
      this.running.delete(generation);
      this.load -= input.n;
      this.closeIfUnused();
    });
    const arrived = clock();
    if (this.thread) this.submit(this.thread, generation, input, arrived);
    else {
      this.start().then(
        (thread) => this.submit(thread, generation, input, arrived),
        (error: Error) => generation.fail(error),
      );
    }
    return generation;
  }

  /** Lets the thread go as soon as nothing runs on it; resolves when it is gone. */
  async retire(): Promise<void> {
    this.isRetired = true;
    await this.starting?.catch(() => {});
    await Promise.all(Array.from(this.running, (generation) => generation.over));
    this.closeIfUnused();
    await this.closing;
  }

  /** Ends what runs with what it has. */
  cancelAll(): void {
    for (const generation of this.running) generation.cancel();
  }

  private check({ promptIds, n }: GenerationInput): void {
    refuseWhenClosing(this.options.closing);
    checkPrompt(promptIds, this, this.options.kvMemory);
    const room = this.options.maxRows + this.options.maxQueue;
    if (this.load > 0 && this.load + n > room) {
      throw new AttuneError(
        `generation: ${this.load} generations run or wait, and there is room for ${room}; try again soon`,
        { status: 429, code: 'queue_full', retry: true },
      );
    }
  }

  private submit(thread: PolicyThread, generation: Generation, input: GenerationInput, arrived: number): void {
    if (generation.isOver) return;
    const { promptIds, n, tenant = '', sharedLength = 0 } = input;
    const { stop: _, ...sampling } = input.sampling;
    const id = thread.submit({ promptIds, sharedLength, tenant, sampling, n, arrived }, generation);
    generation.onAbandon = (index) => thread.cancel(id, index);
  }

  private start(): Promise<PolicyThread> {
    this.starting ??= this.openThread().finally(() => {
      this.starting = null;
    });
    return this.starting;
  }

  private async openThread(): Promise<PolicyThread> {
    const { id, folder, architecture, options } = this;
    const { threads, maxRows, kvMemory, meter, closing } = options;
    const { delay } = this.backoff;
    if (delay > 0) await setTimeout(delay, undefined, { signal: closing }).catch(() => refuseWhenClosing(closing));
    const report = (turn: Turn['report']) => meter?.step({ policyId: id, ...turn });
    const thread = await PolicyThread.open(id, { folder, architecture, threads, maxRows, kvMemory }, report);
    this.backoff.begin();
    this.thread = thread;
    void thread.ended.then((error) => {
      if (this.thread !== thread) return;
      this.thread = null;
      if (error) this.backoff.end();
      // A thread that nobody asked to end is replaced; if that fails too, the next generation tries and reports it.
      if (error && !this.isRetired && !this.options.closing.aborted) this.start().catch(() => {});
    });
    return thread;
  }

  private closeIfUnused(): void {
    if (!this.isRetired || this.running.size > 0 || !this.thread) return;
    const { thread } = this;
    this.thread = null;
    this.closing = Promise.all([this.closing, thread.close()]).then(() => {});
  }
}

export function refuseWhenClosing(closing: AbortSignal): void {
  if (!closing.aborted) return;
  throw new AttuneError('generation: the server is closing; send the request to another, or again later', {
    status: 503,
    code: 'closing',
  });
}
