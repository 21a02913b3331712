// The choices that decode: each is a row of one cache, and a step gives each its next token. Rows join and leave between
// steps, and every sum of a row is over that row alone.

import type { Decoder } from '../../shared/decoder/decoder.ts';
import type { KvCache } from '../../shared/decoder/kv-cache.ts';
import { seedRandom } from '../../shared/decoder/random.ts';
import { sampleToken, selectTopLogprobs } from '../../shared/decoder/sampling.ts';
import { kvBlocksOf, type Prefix } from './prefix-cache.ts';
import type { Choice, EngineEvent } from './request.ts';

type Sequence = {
  choice: Choice;
  random: () => number;
  counts: Map<number, number>;
  generatedTokens: number;
  lastToken: number;
};

export class DecodeBatch {
  readonly cache: KvCache;
  private readonly decoder: Decoder;
  private readonly emit: (event: EngineEvent) => void;
  /** rows[i] is row i of the cache. */
  private readonly sequences: Sequence[] = [];
  private readonly eosTokens: Set<number>;
  /** The longest that prompt and answer can be together. */
  private readonly maxLength: number;

  constructor(
    decoder: Decoder,
    { kvMemory, reach }: { kvMemory: number; reach: number },
    emit: (event: EngineEvent) => void,
  ) {
    this.decoder = decoder;
    this.emit = emit;
    this.maxLength = reach;
    this.cache = decoder.createCache(kvMemory);
    this.eosTokens = new Set(decoder.architecture.eos);
  }

  get size(): number {
    return this.sequences.length;
  }

  get choices(): Choice[] {
    return this.sequences.map(({ choice }) => choice);
  }

  /** Samples a choice's first token from what its prompt came to, and makes it a row unless that was all. */
  add(choice: Choice, prefix: Prefix): void {
    const random = seedRandom(choice.request.sampling.seed, choice.index);
    const row: Sequence = { choice, random, counts: new Map(), generatedTokens: 0, lastToken: 0 };
    if (!this.sampleNext(row, prefix.logits, prefix.logNormalizer)) return;
    const place = this.cache.addRow(choice.request.promptIds.length);
    for (const block of kvBlocksOf(prefix)) this.cache.appendBlock(place, block);
    this.sequences.push(row);
  }

  async decode(): Promise<void> {
    if (this.sequences.length === 0) return;
    const { vocabSize } = this.decoder.architecture;
    try {
      const { logits, logNormalizers } = await this.decoder.forward(
        this.cache,
        this.sequences.map(({ lastToken: last }) => [last]),
      );
      // From the end, because a row that leaves gives its place to the last one.
      for (let place = this.sequences.length - 1; place >= 0; place--) {
        const own = logits.subarray(place * vocabSize, (place + 1) * vocabSize);
        const logNormalizer = logNormalizers[place]!;
        if (!this.sampleNext(this.sequences[place]!, own, logNormalizer)) {
          this.removeSequence(place, { wipe: !Number.isFinite(logNormalizer) });
        }
      }
    } catch (error) {
      for (let place = this.sequences.length - 1; place >= 0; place--) {
        this.fail(this.sequences[place]!.choice, error);
        this.removeSequence(place, { wipe: true });
      }
    }
  }

  remove(isGone: (choice: Choice) => boolean): void {
    for (let place = this.sequences.length - 1; place >= 0; place--) {
      if (isGone(this.sequences[place]!.choice)) this.removeSequence(place);
    }
  }

  /** Samples a row's next token from logits [V]; false when that was its end. */
  private sampleNext(row: Sequence, logits: Float32Array, logNormalizer: number): boolean {
    const { request: job, index } = row.choice;
    const { sampling } = job;
    if (!Number.isFinite(logNormalizer)) {
      this.fail(row.choice, new Error('the policy computed logits that are not finite'));
      return false;
    }
    const limit = Math.min(sampling.maxTokens, this.maxLength - job.promptIds.length);
    if (row.generatedTokens >= limit) return this.finish(row.choice, 'length', null);
    const tokenId = sampleToken(logits, logNormalizer, sampling, row.counts, row.random);
    if (this.eosTokens.has(tokenId)) return this.finish(row.choice, 'stop', tokenId);

    const topLogprobs = selectTopLogprobs(logits, logNormalizer, sampling.topLogprobs);
    const logprob = logits[tokenId]! - logNormalizer;
    this.emit({ type: 'token', id: job.id, index, tokenId, logprob, topLogprobs });
    row.counts.set(tokenId, (row.counts.get(tokenId) ?? 0) + 1);
    row.lastToken = tokenId;
    row.generatedTokens++;
    // Without this a row that has its tokens would cost one more step.
    return row.generatedTokens < limit || this.finish(row.choice, 'length', null);
  }

  private finish({ request: job, index }: Choice, finish: 'stop' | 'length', stopToken: number | null): false {
    this.emit({ type: 'finish', id: job.id, index, finish, stopToken });
    return false;
  }

  private fail({ request: job, index }: Choice, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.emit({ type: 'failed', id: job.id, index, message });
  }

  private removeSequence(place: number, options: { wipe?: boolean } = {}): void {
    const last = this.sequences.pop()!;
    if (place < this.sequences.length) this.sequences[place] = last;
    this.cache.removeRow(place, options);
  }
}
