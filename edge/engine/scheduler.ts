// Continuous batching: choices join and leave between decoding steps. One turn admits those whose turn it is and for whom
// there is room, computes at most one chunk of prompts, and makes one token for each row. What a generation says depends
// on its prompt, its seed and the policy, never on what else is going on.
import type { Decoder } from '../../shared/decoder/decoder.ts';
import { DecodeBatch } from './decode-batch.ts';
import { FairQueue } from './fair-queue.ts';
import type { StepStats } from './instrumentation.ts';
import { maxSequenceLength, reservedKvBytes } from './kv-budget.ts';
import { Prefill } from './prefill.ts';
import { PrefixCache } from './prefix-cache.ts';
import { type Choice, type EngineEvent, type EngineRequest, epochSeconds } from './request.ts';

export type SchedulerOptions = {
  /** How many choices decode together. */
  maxRows: number;
  /** Bytes of keys and values; what the rows do not need of them keeps the beginnings of prompts. */
  kvMemory: number;
};

export type StepResult = { events: EngineEvent[]; stats: Omit<StepStats, 'policyId'> };

export class Scheduler {
  private readonly decoder: Decoder;
  private readonly options: SchedulerOptions;
  private readonly onEarlyEvents: ((events: EngineEvent[]) => void) | undefined;
  private readonly maxLength: number;
  private readonly queue = new FairQueue<Choice>();
  private readonly prefixCache = new PrefixCache();
  private readonly prefill: Prefill;
  private readonly decodeBatch: DecodeBatch;
  private readonly cancelled = new Set<string>();
  private events: EngineEvent[] = [];

  /** `hear` is told of first tokens before the turn's step; without it they come with the turn. */
  constructor(decoder: Decoder, options: SchedulerOptions, hear?: (events: EngineEvent[]) => void) {
    this.onEarlyEvents = hear;
    this.decoder = decoder;
    this.options = options;
    this.maxLength = maxSequenceLength(options.kvMemory, decoder.architecture);
    const emit = (event: EngineEvent) => this.events.push(event);
    this.prefill = new Prefill(decoder, this.prefixCache, emit);
    this.decodeBatch = new DecodeBatch(decoder, { kvMemory: options.kvMemory, reach: this.maxLength }, emit);
  }

  submit(job: EngineRequest): void {
    for (let index = 0; index < job.n; index++) this.queue.push(job.tenant, { request: job, index });
  }

  /** Takes effect before the next turn; nothing more is heard of the choice. */
  cancel(id: number, index: number): void {
    this.cancelled.add(`${id}:${index}`);
  }

  get isIdle(): boolean {
    return this.queue.size === 0 && this.prefill.choices.length === 0 && this.decodeBatch.size === 0;
  }

  async step(): Promise<StepResult> {
    const began = epochSeconds();
    this.removeCancelled();
    this.admit();
    for (const { choice, prefix } of await this.prefill.step(this.decodeBatch.size))
      this.decodeBatch.add(choice, prefix!);
    if (this.events.length > 0) this.onEarlyEvents?.(this.takeEvents());
    const decoded = this.decodeBatch.size;
    await this.decodeBatch.decode();
    this.prefixCache.trim(this.options.kvMemory - this.decodeBatch.cache.bytes);
    return { events: this.takeEvents(), stats: this.collectStats(decoded, epochSeconds() - began) };
  }

  private takeEvents(): EngineEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  /** In the order of the queue: one that there is no room for yet is not overtaken. */
  private admit(): void {
    for (let next = this.queue.peek(); next && this.canAdmit(next); next = this.queue.peek()) {
      this.prefill.add(this.queue.shift()!);
    }
  }

  /** Whether all that was admitted could grow to its full length beside this one; all rows are as long as the longest. */
  private canAdmit(choice: Choice): boolean {
    const admitted = [...this.prefill.choices, ...this.decodeBatch.choices];
    if (admitted.length === 0) return true;
    const { maxRows, kvMemory } = this.options;
    const sizes = [...admitted, choice].map(({ request: job }) =>
      reservedKvBytes(this.decoder.architecture, this.maxLength, job.promptIds.length, job.sampling.maxTokens),
    );
    return sizes.length <= maxRows && sizes.length * Math.max(...sizes) <= kvMemory;
  }

  private removeCancelled(): void {
    if (this.cancelled.size === 0) return;
    const isGone = ({ request: job, index }: Choice) => this.cancelled.has(`${job.id}:${index}`);
    this.queue.remove(isGone);
    this.prefill.remove(isGone);
    this.decodeBatch.remove(isGone);
    this.cancelled.clear();
  }

  private collectStats(rows: number, seconds: number): StepResult['stats'] {
    return {
      decodedSequences: rows,
      prefilledTokens: this.prefill.prefilledTokens,
      cachedTokens: this.prefill.cachedTokens,
      running: this.decodeBatch.size,
      waiting: this.queue.size + this.prefill.choices.length,
      kvBytes: this.decodeBatch.cache.bytes + this.prefixCache.bytes,
      kvBudgetBytes: this.options.kvMemory,
      seconds,
    };
  }
}
