// One policy and the thread that runs it. The thread may come and go (it died; the policy was swapped out and somebody
// still held it) while the policy, being immutable, stays what it is: a generation that finds no thread waits for one.
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/policy/architecture.ts';
import type { Tokenizer } from '../../shared/policy/tokenizer.ts';
import { Generation } from './generation.ts';
import type { GenerationEvent, GenerationInput, LoadedPolicy } from './inference.ts';
import { PolicyThread } from './policy-thread.ts';

export type SlotOptions = { threads: number; maxRows: number; maxQueue: number; closing: AbortSignal };

export class PolicySlot implements LoadedPolicy {
  readonly id: string;
  readonly architecture: Architecture;
  readonly tokenizer: Tokenizer;
  private readonly folder: string;
  private readonly options: SlotOptions;
  private thread: PolicyThread | null = null;
  private starting: Promise<PolicyThread> | null = null;
  private closing: Promise<void> = Promise.resolve();
  private readonly running = new Set<Generation>();
  private load = 0;
  private isRetired = false;

  constructor(
    id: string,
    package_: { folder: string; architecture: Architecture; tokenizer: Tokenizer },
    options: SlotOptions,
  ) {
    this.id = id;
    this.folder = package_.folder;
    this.architecture = package_.architecture;
    this.tokenizer = package_.tokenizer;
    this.options = options;
  }

  /** Resolves when the policy is loaded and has computed something finite. */
  async warm(): Promise<void> {
    if (!this.thread) await this.start();
  }

  generate(input: GenerationInput, signal?: AbortSignal): AsyncIterable<GenerationEvent> {
    this.check(input);
    const generation = new Generation(this.tokenizer, input);
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
    if (this.thread) this.submit(this.thread, generation, input);
    else {
      this.start().then(
        (thread) => this.submit(thread, generation, input),
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
    const { contextLength, vocabSize } = this.architecture;
    if (promptIds.length >= contextLength) {
      throw new AttuneError(
        `messages: the prompt has ${promptIds.length} tokens, and policy ${this.id} has a context of ${contextLength} ` +
          'for prompt and answer together; shorten the messages',
        { status: 400, param: 'messages', code: 'context_length_exceeded' },
      );
    }
    if (promptIds.length === 0) {
      throw new AttuneError('messages: the prompt has no tokens; say something', { param: 'messages' });
    }
    const stranger = promptIds.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (stranger !== undefined) {
      throw new AttuneError(`messages: token ${stranger} is outside policy ${this.id}'s vocabulary of ${vocabSize}`, {
        param: 'messages',
      });
    }
    const room = this.options.maxRows + this.options.maxQueue;
    if (this.load > 0 && this.load + n > room) {
      throw new AttuneError(
        `generation: ${this.load} generations run or wait, and there is room for ${room}; try again soon`,
        { status: 429, code: 'queue_full', retry: true },
      );
    }
  }

  private submit(thread: PolicyThread, generation: Generation, { promptIds, sampling, n }: GenerationInput): void {
    if (generation.isOver) return;
    const { stop: _, ...rest } = sampling;
    const id = thread.submit({ promptIds, sampling: rest, n }, generation);
    generation.onAbandon = (index) => thread.cancel(id, index);
  }

  private start(): Promise<PolicyThread> {
    this.starting ??= this.openThread().finally(() => {
      this.starting = null;
    });
    return this.starting;
  }

  private async openThread(): Promise<PolicyThread> {
    const { folder, architecture, options } = this;
    const { threads, maxRows } = options;
    const thread = await PolicyThread.open(this.id, { folder, architecture, threads, maxRows });
    this.thread = thread;
    void thread.ended.then((error) => {
      if (this.thread !== thread) return;
      this.thread = null;
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
