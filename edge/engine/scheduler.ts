// Continuous batching: choices join and leave the decode batch between steps. A step admits queued choices that fit,
// prefills about one chunk of prompts, and decodes one token per sequence. A generation depends on its prompt, its seed
// and the policy, never on the batch.
import type { Decoder } from '../../shared/decoder/decoder.ts';
import type { Constraints } from '../grammar/constraint.ts';
import { DecodeBatch } from './decode-batch.ts';
import { FairQueue } from './fair-queue.ts';
import type { StepStats } from './instrumentation.ts';
import { type KvBudget, maxSequenceLength, reservedKvBytes } from './kv-budget.ts';
import { Prefill } from './prefill.ts';
import { PrefixCache } from './prefix-cache.ts';
import { type Choice, type EngineEvent, type EngineRequest, epochSeconds } from './request.ts';
import { Tenants } from './tenants.ts';

export type SchedulerOptions = {
  /** How many choices decode together. */
  maxRows: number;
  /** Memory for keys and values; the prefix cache gets what the decode batch leaves free. */
  kvMemoryBytes: number;
  /** The most that the prefix cache takes of it. Default: all that is free. */
  prefixCacheBytes?: number | undefined;
  /** Whether several tenants are known to share the rows. Default: false. */
  isShared?: boolean | undefined;
  /** For requests with a grammar. */
  constraints?: Constraints | undefined;
};

/** If the rows are shared, one of so many is kept for tenants that have none: they need not wait for the others' ends. */
const ROWS_PER_RESERVED_ROW = 8;

export type StepResult = { events: EngineEvent[]; stats: Omit<StepStats, 'policyId'> };

export class Scheduler {
  private readonly options: SchedulerOptions;
  private readonly onPrefilled: ((events: EngineEvent[]) => void) | undefined;
  private readonly budget: KvBudget;
  private readonly maxLength: number;
  private readonly queue = new FairQueue<Choice>();
  private readonly tenants: Tenants;
  private readonly prefixCache = new PrefixCache();
  private readonly prefill: Prefill;
  private readonly decodeBatch: DecodeBatch;
  private readonly cancelled = new Set<string>();
  private events: EngineEvent[] = [];

  /** `onPrefilled` receives first tokens before the step decodes; without it they are among the step's events. */
  constructor(decoder: Decoder, options: SchedulerOptions, onPrefilled?: (events: EngineEvent[]) => void) {
    this.onPrefilled = onPrefilled;
    this.options = options;
    this.tenants = new Tenants(options.isShared);
    this.budget = { kvMemoryBytes: options.kvMemoryBytes, kvBytesPerPosition: decoder.kvBytesPerPosition };
    this.maxLength = maxSequenceLength(this.budget, decoder.architecture.contextLength);
    const emit = (event: EngineEvent) => this.events.push(event);
    this.prefill = new Prefill(decoder, this.prefixCache, emit);
    this.decodeBatch = new DecodeBatch(
      decoder,
      { kvMemoryBytes: options.kvMemoryBytes, maxLength: this.maxLength, constraints: options.constraints },
      emit,
    );
  }

  submit(request: EngineRequest): void {
    this.tenants.see(request.tenant);
    for (let index = 0; index < request.n; index++) this.queue.push(request.tenant, { request, index });
  }

  /** Takes effect at the start of the next step, which emits no more events of the choice. */
  cancel(id: number, index: number): void {
    this.cancelled.add(`${id}:${index}`);
  }

  get isIdle(): boolean {
    return this.queue.size === 0 && this.prefill.choices.length === 0 && this.decodeBatch.size === 0;
  }

  async step(): Promise<StepResult> {
    const startedAt = epochSeconds();
    this.removeCancelled();
    this.admit();
    const prefilled = await this.prefill.step(this.decodeBatch.size);
    for (const { choice, prefix, logprobs } of prefilled) {
      if (logprobs) this.emitScores(choice, logprobs);
      else this.decodeBatch.add(choice, prefix!);
    }
    if (this.events.length > 0) this.onPrefilled?.(this.takeEvents());
    const decodedSequences = this.decodeBatch.size;
    await this.decodeBatch.decode();
    const { kvMemoryBytes, prefixCacheBytes = kvMemoryBytes } = this.options;
    this.prefixCache.trim(Math.min(prefixCacheBytes, kvMemoryBytes - this.decodeBatch.cache.bytes));
    return { events: this.takeEvents(), stats: this.collectStats(decodedSequences, epochSeconds() - startedAt) };
  }

  /** A given response ends with its prefill. */
  private emitScores({ request, index }: Choice, logprobs: number[]): void {
    const { id, response } = request;
    for (const [at, tokenId] of response!.entries())
      this.events.push({ type: 'token', id, index, tokenId, logprob: logprobs[at]!, topLogprobs: [] });
    this.events.push({ type: 'finish', id, index, finishReason: 'length', stop: null });
  }

  private takeEvents(): EngineEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  /** Admits choices in the order of the queue: one that does not fit yet is not overtaken. */
  private admit(): void {
    while (true) {
      const admitted = [...this.prefill.choices, ...this.decodeBatch.choices];
      const isEligible = (tenant: string) => this.hasRowFor(tenant, admitted);
      const next = this.queue.peek(isEligible);
      if (!next || !this.canAdmit(next, admitted)) return;
      this.prefill.add(this.queue.shift(isEligible)!);
    }
  }

  /** Whether a row is left besides those kept for tenants without one. */
  private hasRowFor(tenant: string, admitted: Choice[]): boolean {
    const { maxRows } = this.options;
    const reserved = this.tenants.isShared ? Math.floor(maxRows / ROWS_PER_RESERVED_ROW) : 0;
    return admitted.length < maxRows - reserved || admitted.every(({ request }) => request.tenant !== tenant);
  }

  /** Whether this choice and all admitted ones fit at their full lengths; every row is allocated for the longest. */
  private canAdmit(choice: Choice, admitted: Choice[]): boolean {
    if (admitted.length === 0) return true;
    const { maxRows, kvMemoryBytes } = this.options;
    const rowBytes = [...admitted, choice].map(({ request: { promptIds, sampling } }) =>
      reservedKvBytes(this.budget, this.maxLength, promptIds.length, sampling.maxTokens),
    );
    return rowBytes.length <= maxRows && rowBytes.length * Math.max(...rowBytes) <= kvMemoryBytes;
  }

  private removeCancelled(): void {
    if (this.cancelled.size === 0) return;
    const isCancelled = ({ request, index }: Choice) => this.cancelled.has(`${request.id}:${index}`);
    this.queue.remove(isCancelled);
    this.prefill.remove(isCancelled);
    this.decodeBatch.remove(isCancelled);
    this.cancelled.clear();
  }

  private collectStats(decodedSequences: number, seconds: number): StepResult['stats'] {
    return {
      decodedSequences,
      prefilledTokens: this.prefill.prefilledTokens,
      cachedTokens: this.prefill.cachedTokens,
      running: this.decodeBatch.size,
      waiting: this.queue.size + this.prefill.choices.length,
      kvBytes: this.decodeBatch.cache.bytes + this.prefixCache.bytes,
      kvBudgetBytes: this.options.kvMemoryBytes,
      seconds,
    };
  }
}
