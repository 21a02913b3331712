// Continuous batching: rows join and leave between decoding steps. A prompt is prefilled alone, in chunks between the
// steps of the rows that already decode, and once for all its choices; each choice then gets a copy of its keys and
// values. Chunks depend on the prompt alone and every sum of a row on that row alone, so that what a generation says
// does not depend on its neighbours. First come, first served.
import type { KvCache } from '../../shared/decoder/cache.ts';
import type { Decoder } from '../../shared/decoder/decoder.ts';
import { seedRandom } from '../../shared/decoder/random.ts';
import { rankTokens, type Sampling, sampleToken, type TokenLogprob } from '../../shared/decoder/sampling.ts';

/** What the engine needs of a generation; stop strings are text, and text is not its business. */
export type Job = { id: number; promptIds: number[]; sampling: Omit<Sampling, 'stop'>; n: number };

export type JobEvent = { id: number; index: number } & (
  | { type: 'token'; tokenId: number; logprob: number; topLogprobs: TokenLogprob[] }
  | { type: 'finish'; finish: 'stop' | 'length'; stopToken: number | null }
  | { type: 'failed'; message: string }
);

type Prompt = { job: Job; cache: KvCache; logits: Float32Array | null; logNormalizer: number; nextIndex: number };
type Row = { job: Job; index: number; random: () => number; counts: Map<number, number>; made: number; last: number };

/** Tokens of a prompt per run: long enough to be efficient, short enough that others keep streaming. */
const CHUNK = 128;

export class Scheduler {
  private readonly decoder: Decoder;
  private readonly maxRows: number;
  private readonly queue: Job[] = [];
  private prompt: Prompt | null = null;
  /** rows[i] is row i of the cache. */
  private readonly rows: Row[] = [];
  private readonly cache: KvCache;
  private cancelled: { id: number; index: number }[] = [];
  private events: JobEvent[] = [];
  private readonly scratch: Float32Array;
  private readonly eos: Set<number>;

  constructor(decoder: Decoder, maxRows: number) {
    this.decoder = decoder;
    this.maxRows = maxRows;
    this.cache = decoder.createCache();
    this.scratch = new Float32Array(decoder.architecture.vocabSize);
    this.eos = new Set(decoder.architecture.eos);
  }

  submit(job: Job): void {
    this.queue.push(job);
  }

  /** Takes effect before the next step; nothing more is heard of the choice. */
  cancel(id: number, index: number): void {
    this.cancelled.push({ id, index });
  }

  get isIdle(): boolean {
    return this.queue.length === 0 && this.prompt === null && this.rows.length === 0;
  }

  /** Does one round of work and returns what came of it. */
  async step(): Promise<JobEvent[]> {
    this.applyCancellations();
    await this.admit();
    await this.decode();
    const events = this.events;
    this.events = [];
    return events;
  }

  /** Starts as many choices as there are free rows, within one chunk's worth of prefill. */
  private async admit(): Promise<void> {
    let budget = CHUNK;
    while (this.rows.length < this.maxRows) {
      if (!this.prompt) {
        const job = this.queue.shift();
        if (!job) return;
        this.prompt = { job, cache: this.decoder.createCache(), logits: null, logNormalizer: 0, nextIndex: 0 };
        this.prompt.cache.addRow();
      }
      if (!this.prompt.logits) {
        if (budget <= 0) return;
        budget -= await this.prefill(this.prompt);
      }
      this.startChoices();
    }
  }

  /** Runs the next chunk of a prompt and returns its length. */
  private async prefill(prompt: Prompt): Promise<number> {
    const { job, cache } = prompt;
    const chunk = job.promptIds.slice(cache.lengths[0]!, cache.lengths[0]! + CHUNK);
    try {
      const { logits, logNormalizers } = await this.decoder.run(cache, [chunk]);
      if (cache.lengths[0] === job.promptIds.length) {
        prompt.logits = logits;
        prompt.logNormalizer = logNormalizers[0]!;
      }
    } catch (error) {
      for (let index = 0; index < job.n; index++) this.fail(job, index, error);
      this.prompt = null;
    }
    return chunk.length;
  }

  private startChoices(): void {
    const { prompt } = this;
    if (!prompt?.logits) return;
    const { job } = prompt;
    while (prompt.nextIndex < job.n && this.rows.length < this.maxRows) {
      const index = prompt.nextIndex++;
      if (this.takeCancellation(job.id, index)) continue;
      const random = seedRandom(job.sampling.seed, index);
      const row: Row = { job, index, random, counts: new Map(), made: 0, last: 0 };
      if (!this.advance(row, prompt.logits, prompt.logNormalizer)) continue;
      this.rows.push(row);
      this.cache.addCopy(prompt.cache);
    }
    if (prompt.nextIndex === job.n) this.prompt = null;
  }

  private async decode(): Promise<void> {
    if (this.rows.length === 0) return;
    const { vocabSize } = this.decoder.architecture;
    try {
      const { logits, logNormalizers } = await this.decoder.run(
        this.cache,
        this.rows.map(({ last }) => [last]),
      );
      // From the end, because a row that leaves gives its place to the last one.
      for (let place = this.rows.length - 1; place >= 0; place--) {
        const own = logits.subarray(place * vocabSize, (place + 1) * vocabSize);
        const logNormalizer = logNormalizers[place]!;
        if (!this.advance(this.rows[place]!, own, logNormalizer)) {
          this.removeRow(place, { wipe: !Number.isFinite(logNormalizer) });
        }
      }
    } catch (error) {
      for (let place = this.rows.length - 1; place >= 0; place--) {
        this.fail(this.rows[place]!.job, this.rows[place]!.index, error);
        this.removeRow(place, { wipe: true });
      }
    }
  }

  /** Samples a row's next token from logits [V]; false when that was its end. */
  private advance(row: Row, logits: Float32Array, logNormalizer: number): boolean {
    const { job, index } = row;
    const { sampling } = job;
    if (!Number.isFinite(logNormalizer)) {
      this.fail(job, index, new Error('the policy computed logits that are not finite'));
      return false;
    }
    const limit = Math.min(sampling.maxTokens, this.decoder.architecture.contextLength - job.promptIds.length);
    if (row.made >= limit) {
      this.events.push({ type: 'finish', id: job.id, index, finish: 'length', stopToken: null });
      return false;
    }
    this.scratch.set(logits);
    const tokenId = sampleToken(this.scratch, logNormalizer, sampling, row.counts, row.random);
    if (this.eos.has(tokenId)) {
      this.events.push({ type: 'finish', id: job.id, index, finish: 'stop', stopToken: tokenId });
      return false;
    }
    const topLogprobs = rankTokens(logits, logNormalizer, sampling.topLogprobs);
    const logprob = logits[tokenId]! - logNormalizer;
    this.events.push({ type: 'token', id: job.id, index, tokenId, logprob, topLogprobs });
    row.counts.set(tokenId, (row.counts.get(tokenId) ?? 0) + 1);
    row.last = tokenId;
    row.made++;
    // Without this a row that has its tokens would cost one more step.
    if (row.made < limit) return true;
    this.events.push({ type: 'finish', id: job.id, index, finish: 'length', stopToken: null });
    return false;
  }

  private fail(job: Job, index: number, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.events.push({ type: 'failed', id: job.id, index, message });
  }

  private removeRow(place: number, options: { wipe?: boolean } = {}): void {
    const last = this.rows.pop()!;
    if (place < this.rows.length) this.rows[place] = last;
    this.cache.removeRow(place, options);
  }

  private applyCancellations(): void {
    for (let place = this.rows.length - 1; place >= 0; place--) {
      const { job, index } = this.rows[place]!;
      if (this.takeCancellation(job.id, index)) this.removeRow(place);
    }
    // A job all of whose choices are cancelled is not prefilled for nobody.
    const isWanted = (job: Job, from: number) => {
      const gone = this.cancelled.filter(({ id, index }) => id === job.id && index >= from).length;
      return gone < job.n - from;
    };
    if (this.prompt && !isWanted(this.prompt.job, this.prompt.nextIndex)) this.prompt = null;
    this.queue.splice(0, this.queue.length, ...this.queue.filter((job) => isWanted(job, 0)));
    const waiting = new Set([this.prompt?.job.id, ...this.queue.map(({ id }) => id)]);
    this.cancelled = this.cancelled.filter(({ id }) => waiting.has(id));
  }

  private takeCancellation(id: number, index: number): boolean {
    const at = this.cancelled.findIndex((other) => other.id === id && other.index === index);
    if (at >= 0) this.cancelled.splice(at, 1);
    return at >= 0;
  }
}
