// The choices that decode: each is a row of one cache, and a step gives each its next token. Rows join and leave between
// steps, and every sum of a row is over that row alone.

import type { Decoder } from '../../shared/decoder/decoder.ts';
import type { KvCache } from '../../shared/decoder/kv-cache.ts';
import { seedRandom } from '../../shared/decoder/random.ts';
import { rankTokens, sampleToken } from '../../shared/decoder/sampling.ts';
import { blocksOf, type Prefix } from './prefix-cache.ts';
import type { Choice, JobEvent } from './request.ts';

type Row = { choice: Choice; random: () => number; counts: Map<number, number>; made: number; last: number };

export class Rows {
  readonly cache: KvCache;
  private readonly decoder: Decoder;
  private readonly emit: (event: JobEvent) => void;
  /** rows[i] is row i of the cache. */
  private readonly rows: Row[] = [];
  private readonly eos: Set<number>;
  /** The longest that prompt and answer can be together. */
  private readonly reach: number;

  constructor(
    decoder: Decoder,
    { kvMemory, reach }: { kvMemory: number; reach: number },
    emit: (event: JobEvent) => void,
  ) {
    this.decoder = decoder;
    this.emit = emit;
    this.reach = reach;
    this.cache = decoder.createCache(kvMemory);
    this.eos = new Set(decoder.architecture.eos);
  }

  get count(): number {
    return this.rows.length;
  }

  get choices(): Choice[] {
    return this.rows.map(({ choice }) => choice);
  }

  /** Samples a choice's first token from what its prompt came to, and makes it a row unless that was all. */
  start(choice: Choice, prefix: Prefix): void {
    const random = seedRandom(choice.job.sampling.seed, choice.index);
    const row: Row = { choice, random, counts: new Map(), made: 0, last: 0 };
    if (!this.advance(row, prefix.logits, prefix.logNormalizer)) return;
    const place = this.cache.addRow(choice.job.promptIds.length);
    for (const block of blocksOf(prefix)) this.cache.write(place, block);
    this.rows.push(row);
  }

  async step(): Promise<void> {
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
          this.leave(place, { wipe: !Number.isFinite(logNormalizer) });
        }
      }
    } catch (error) {
      for (let place = this.rows.length - 1; place >= 0; place--) {
        this.fail(this.rows[place]!.choice, error);
        this.leave(place, { wipe: true });
      }
    }
  }

  remove(isGone: (choice: Choice) => boolean): void {
    for (let place = this.rows.length - 1; place >= 0; place--) {
      if (isGone(this.rows[place]!.choice)) this.leave(place);
    }
  }

  /** Samples a row's next token from logits [V]; false when that was its end. */
  private advance(row: Row, logits: Float32Array, logNormalizer: number): boolean {
    const { job, index } = row.choice;
    const { sampling } = job;
    if (!Number.isFinite(logNormalizer)) {
      this.fail(row.choice, new Error('the policy computed logits that are not finite'));
      return false;
    }
    const limit = Math.min(sampling.maxTokens, this.reach - job.promptIds.length);
    if (row.made >= limit) return this.finish(row.choice, 'length', null);
    const tokenId = sampleToken(logits, logNormalizer, sampling, row.counts, row.random);
    if (this.eos.has(tokenId)) return this.finish(row.choice, 'stop', tokenId);

    const topLogprobs = rankTokens(logits, logNormalizer, sampling.topLogprobs);
    const logprob = logits[tokenId]! - logNormalizer;
    this.emit({ type: 'token', id: job.id, index, tokenId, logprob, topLogprobs });
    row.counts.set(tokenId, (row.counts.get(tokenId) ?? 0) + 1);
    row.last = tokenId;
    row.made++;
    // Without this a row that has its tokens would cost one more step.
    return row.made < limit || this.finish(row.choice, 'length', null);
  }

  private finish({ job, index }: Choice, finish: 'stop' | 'length', stopToken: number | null): false {
    this.emit({ type: 'finish', id: job.id, index, finish, stopToken });
    return false;
  }

  private fail({ job, index }: Choice, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.emit({ type: 'failed', id: job.id, index, message });
  }

  private leave(place: number, options: { wipe?: boolean } = {}): void {
    const last = this.rows.pop()!;
    if (place < this.rows.length) this.rows[place] = last;
    this.cache.removeRow(place, options);
  }
}
