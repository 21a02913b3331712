// Computes the prompts of choices that have a row to come to. A turn computes one chunk's worth of tokens: a piece of a
// long prompt, or several short prompts together. Nothing is computed that is known from another prompt, or that another
// is about to compute.

import type { Decoder, PrefillOutput } from '../../shared/decoder/decoder.ts';
import type { KvCache } from '../../shared/decoder/kv-cache.ts';
import { CHUNK_TOKENS, planChunks } from './chunking.ts';
import { chunkKey, kvBlocksOf, type Prefix, type PrefixCache } from './prefix-cache.ts';
import { type Choice, type EngineEvent, epochSeconds } from './request.ts';

/** A choice whose prompt is computed up to a prefix. */
export type PendingPrompt = {
  choice: Choice;
  chunkEnds: number[];
  completedChunks: number;
  prefix: Prefix | null;
  hasStarted: boolean;
};

/** Padding costs as much as tokens: prompts that differ more in length than a run of its own costs are not joined. */
const MAX_PADDING_TOKENS = 16;

/** Chunks' worth of short prompts in one run. */
const MAX_CHUNKS_PER_RUN = 4;

export class Prefill {
  /** Tokens computed, and tokens that were known, since the last turn began. */
  prefilledTokens = 0;
  cachedTokens = 0;
  private readonly decoder: Decoder;
  private readonly prefixCache: PrefixCache;
  private readonly emit: (event: EngineEvent) => void;
  /** In the order in which they came. */
  private prompts: PendingPrompt[] = [];
  private runCount = 0;
  /** What the last run computed over, where its prompt goes on. */
  private lastRun: { prefix: Prefix | null; past: KvCache } | null = null;

  constructor(decoder: Decoder, prefixes: PrefixCache, emit: (event: EngineEvent) => void) {
    this.decoder = decoder;
    this.prefixCache = prefixes;
    this.emit = emit;
  }

  get choices(): Choice[] {
    return this.prompts.map(({ choice }) => choice);
  }

  add(choice: Choice): void {
    const ends = planChunks(choice.request.promptIds.length, choice.request.sharedLength);
    this.prompts.push({ choice, chunkEnds: ends, completedChunks: 0, prefix: null, hasStarted: false });
  }

  remove(isGone: (choice: Choice) => boolean): void {
    this.prompts = this.prompts.filter(({ choice }) => !isGone(choice));
    if (this.prompts.every(({ prefix }) => prefix !== this.lastRun?.prefix)) this.lastRun = null;
  }

  /** Returns the prompts that are complete now; `rows` decode meanwhile, and each is stalled by what is computed. */
  async step(rows: number): Promise<PendingPrompt[]> {
    this.prefilledTokens = 0;
    this.cachedTokens = 0;
    const complete = this.removeComplete();
    // Short prompts share a run, and a larger one where more of them wait than rows are stalled by it.
    const together = Math.min(MAX_CHUNKS_PER_RUN, Math.max(1, Math.floor(this.prompts.length / rows)));
    for (let budget = CHUNK_TOKENS; budget > 0; ) {
      const batch = this.selectBatch(budget === CHUNK_TOKENS ? together * CHUNK_TOKENS : budget);
      if (batch.length === 0) break;
      budget -= await this.runBatch(batch);
      complete.push(...this.removeComplete());
    }
    return complete;
  }

  private removeComplete(): PendingPrompt[] {
    for (const prompt of this.prompts) this.reuseCachedChunks(prompt);
    const complete = this.prompts.filter(({ completedChunks: done, chunkEnds: ends }) => done === ends.length);
    if (complete.length > 0)
      this.prompts = this.prompts.filter(({ completedChunks: done, chunkEnds: ends }) => done < ends.length);
    return complete;
  }

  private reuseCachedChunks(prompt: PendingPrompt): void {
    const { completedChunks: done } = prompt;
    while (prompt.completedChunks < prompt.chunkEnds.length) {
      const chunk = nextChunk(prompt);
      const known = this.prefixCache.find(prompt.prefix, chunk);
      if (!known) break;
      this.emitStart(prompt);
      this.cachedTokens += chunk.length;
      prompt.prefix = known;
      prompt.completedChunks++;
    }
    if (prompt.completedChunks > done) this.prefixCache.touch(prompt.prefix!);
  }

  /**
   * Every other run is the oldest's, so that it ends; the runs between are for whoever is nearest to its end, so that
   * short prompts do not wait for long ones.
   */
  private selectNext(): PendingPrompt | undefined {
    const [oldest] = this.prompts;
    if (!oldest || this.runCount % 2 === 0) return oldest;
    const left = ({ chunkEnds: ends, completedChunks: done }: PendingPrompt) => ends.length - done;
    return this.prompts.reduce((best, prompt) => (left(prompt) < left(best) ? prompt : best), oldest);
  }

  /** The first in line, and, if it is at its beginning, others who are and have about as many tokens. */
  private selectBatch(budget: number): PendingPrompt[] {
    const first = this.selectNext();
    if (!first || nextChunk(first).length > budget) return [];
    const batch = [first];
    if (first.prefix) return batch;
    const names = new Set([chunkKey(null, nextChunk(first))]);
    let [shortest, longest] = [nextChunk(first).length, nextChunk(first).length];
    for (const prompt of this.prompts) {
      const chunk = nextChunk(prompt);
      const name = chunkKey(prompt.prefix, chunk);
      if (prompt.prefix || names.has(name)) continue;
      const [low, high] = [Math.min(shortest, chunk.length), Math.max(longest, chunk.length)];
      if (high - low > MAX_PADDING_TOKENS || (batch.length + 1) * high > budget) continue;
      [shortest, longest] = [low, high];
      names.add(name);
      batch.push(prompt);
    }
    return batch;
  }

  /** Computes the next chunk of each; returns how many tokens that was, padding included. */
  private async runBatch(batch: PendingPrompt[]): Promise<number> {
    this.runCount++;
    const chunks = batch.map(nextChunk);
    for (const prompt of batch) this.emitStart(prompt);
    const past = this.createPastCache(batch);
    try {
      const computed = await this.decoder.prefill(past, chunks);
      for (const [i, prompt] of batch.entries()) this.addOutput(prompt, computed[i]!);
      if (
        batch.length === 1 &&
        this.prompts.includes(batch[0]!) &&
        batch[0]!.completedChunks < batch[0]!.chunkEnds.length
      ) {
        past.appendBlock(0, computed[0]!.block);
        this.lastRun = { prefix: batch[0]!.prefix, past };
      }
    } catch (error) {
      // Together they fail together; alone only the one that is at fault.
      if (batch.length === 1) this.fail(batch[0]!, error);
      else for (const prompt of batch) await this.runBatch([prompt]);
    } finally {
      if (this.lastRun?.past !== past) past.clear();
    }
    return chunks.length * Math.max(...chunks.map(({ length }) => length));
  }

  /** A row for each, with what its prefix holds. A prompt that goes on where the last run ended finds it as it was. */
  private createPastCache(batch: PendingPrompt[]): KvCache {
    const { prefix } = batch[0]!;
    const { lastRun: last } = this;
    this.lastRun = null;
    if (last && prefix && last.prefix === prefix) return last.past;
    last?.past.clear();
    const past = this.decoder.createCache();
    const blocks = kvBlocksOf(prefix);
    const pastLength = blocks.reduce((sum, { length }) => sum + length, 0);
    for (const _ of batch) past.addRow(pastLength);
    for (const block of blocks) past.appendBlock(0, block);
    return past;
  }

  private addOutput(prompt: PendingPrompt, computed: PrefillOutput): void {
    if (!Number.isFinite(computed.logNormalizer)) {
      this.fail(prompt, new Error('the policy computed logits that are not finite'));
      return;
    }
    const chunk = nextChunk(prompt);
    this.prefilledTokens += chunk.length;
    prompt.prefix = this.prefixCache.add(prompt.prefix, chunk, computed);
    prompt.completedChunks++;
  }

  private emitStart(prompt: PendingPrompt): void {
    if (prompt.hasStarted) return;
    prompt.hasStarted = true;
    const { request: job, index } = prompt.choice;
    this.emit({ type: 'start', id: job.id, index, queuedSeconds: epochSeconds() - job.arrivedAt });
  }

  private fail(prompt: PendingPrompt, error: unknown): void {
    this.prompts = this.prompts.filter((other) => other !== prompt);
    const { request: job, index } = prompt.choice;
    const message = error instanceof Error ? error.message : String(error);
    this.emit({ type: 'failed', id: job.id, index, message });
  }
}

function nextChunk({ choice, chunkEnds: ends, completedChunks: done }: PendingPrompt): number[] {
  return choice.request.promptIds.slice(ends[done - 1] ?? 0, ends[done]);
}
