// Continuous batching: choices join and leave between decoding steps. One turn admits those whose turn it is and for whom
// there is room, computes at most one chunk of prompts, and makes one token for each row. What a generation says depends
// on its prompt, its seed and the policy, never on what else is going on.
import type { Decoder } from '../../shared/decoder/decoder.ts';
import { Rows } from './decode-batch.ts';
import { FairQueue } from './fair-queue.ts';
import type { StepReport } from './instrumentation.ts';
import { reachWithin, rowBytes } from './kv-budget.ts';
import { Prefill } from './prefill.ts';
import { Prefixes } from './prefix-cache.ts';
import { type Choice, clock, type Job, type JobEvent } from './request.ts';

export type SchedulerOptions = {
  /** How many choices decode together. */
  maxRows: number;
  /** Bytes of keys and values; what the rows do not need of them keeps the beginnings of prompts. */
  kvMemory: number;
};

export type Turn = { events: JobEvent[]; report: Omit<StepReport, 'policyId'> };

export class Scheduler {
  private readonly decoder: Decoder;
  private readonly options: SchedulerOptions;
  private readonly hear: ((events: JobEvent[]) => void) | undefined;
  private readonly reach: number;
  private readonly queue = new FairQueue<Choice>();
  private readonly prefixes = new Prefixes();
  private readonly prefill: Prefill;
  private readonly rows: Rows;
  private readonly cancelled = new Set<string>();
  private events: JobEvent[] = [];

  /** `hear` is told of first tokens before the turn's step; without it they come with the turn. */
  constructor(decoder: Decoder, options: SchedulerOptions, hear?: (events: JobEvent[]) => void) {
    this.hear = hear;
    this.decoder = decoder;
    this.options = options;
    this.reach = reachWithin(options.kvMemory, decoder.architecture);
    const emit = (event: JobEvent) => this.events.push(event);
    this.prefill = new Prefill(decoder, this.prefixes, emit);
    this.rows = new Rows(decoder, { kvMemory: options.kvMemory, reach: this.reach }, emit);
  }

  submit(job: Job): void {
    for (let index = 0; index < job.n; index++) this.queue.push(job.tenant, { job, index });
  }

  /** Takes effect before the next turn; nothing more is heard of the choice. */
  cancel(id: number, index: number): void {
    this.cancelled.add(`${id}:${index}`);
  }

  get isIdle(): boolean {
    return this.queue.size === 0 && this.prefill.choices.length === 0 && this.rows.count === 0;
  }

  async turn(): Promise<Turn> {
    const began = clock();
    this.dropCancelled();
    this.admit();
    for (const { choice, prefix } of await this.prefill.turn(this.rows.count)) this.rows.start(choice, prefix!);
    if (this.events.length > 0) this.hear?.(this.takeEvents());
    const decoded = this.rows.count;
    await this.rows.step();
    this.prefixes.trim(this.options.kvMemory - this.rows.cache.bytes);
    return { events: this.takeEvents(), report: this.report(decoded, clock() - began) };
  }

  private takeEvents(): JobEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  /** In the order of the queue: one that there is no room for yet is not overtaken. */
  private admit(): void {
    for (let next = this.queue.peek(); next && this.hasRoomFor(next); next = this.queue.peek()) {
      this.prefill.add(this.queue.take()!);
    }
  }

  /** Whether all that was admitted could grow to its full length beside this one; all rows are as long as the longest. */
  private hasRoomFor(choice: Choice): boolean {
    const admitted = [...this.prefill.choices, ...this.rows.choices];
    if (admitted.length === 0) return true;
    const { maxRows, kvMemory } = this.options;
    const sizes = [...admitted, choice].map(({ job }) =>
      rowBytes(this.decoder.architecture, this.reach, job.promptIds.length, job.sampling.maxTokens),
    );
    return sizes.length <= maxRows && sizes.length * Math.max(...sizes) <= kvMemory;
  }

  private dropCancelled(): void {
    if (this.cancelled.size === 0) return;
    const isGone = ({ job, index }: Choice) => this.cancelled.has(`${job.id}:${index}`);
    this.queue.remove(isGone);
    this.prefill.remove(isGone);
    this.rows.remove(isGone);
    this.cancelled.clear();
  }

  private report(rows: number, seconds: number): Turn['report'] {
    return {
      rows,
      prefilled: this.prefill.computed,
      reused: this.prefill.reused,
      running: this.rows.count,
      waiting: this.queue.size + this.prefill.choices.length,
      kvBytes: this.rows.cache.bytes + this.prefixes.bytes,
      kvBudget: this.options.kvMemory,
      seconds,
    };
  }
}
