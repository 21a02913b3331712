// Computes the prompts of admitted choices. A step computes about one chunk of tokens: a chunk of a long prompt, or
// several short prompts together. Chunks in the prefix cache are not computed again, and a run has no chunk twice.
import type { Decoder, PrefillOutput } from '../../shared/decoder/decoder.ts';
import type { KvCache } from '../../shared/decoder/kv-cache.ts';
import { getErrorMessage } from '../../shared/error.ts';
import { CHUNK_TOKENS, planChunks } from './chunking.ts';
import { chunkKey, collectKvBlocks, type Prefix, type PrefixCache } from './prefix-cache.ts';
import { type Choice, type EngineEvent, epochSeconds } from './request.ts';

/** A choice whose prompt is computed up to `prefix`. */
type PendingPrompt = {
  choice: Choice;
  chunkEnds: number[];
  completedChunks: number;
  prefix: Prefix | null;
  hasStarted: boolean;
};

/** Padding costs as much as tokens: prompts whose lengths differ by more are cheaper in separate runs. */
const MAX_PADDING_TOKENS = 16;

/** A run of short prompts has at most as many tokens as this many chunks. */
const MAX_CHUNKS_PER_RUN = 4;

export class Prefill {
  /** Prompt tokens computed in the last step. */
  prefilledTokens = 0;
  /** Prompt tokens found in the prefix cache in the last step. */
  cachedTokens = 0;
  private readonly decoder: Decoder;
  private readonly prefixCache: PrefixCache;
  private readonly emit: (event: EngineEvent) => void;
  /** In order of arrival. */
  private prompts: PendingPrompt[] = [];
  private runCount = 0;
  /** The cache of the last run, kept if its prompt has more chunks. */
  private lastRun: { prefix: Prefix | null; past: KvCache } | null = null;

  constructor(decoder: Decoder, prefixCache: PrefixCache, emit: (event: EngineEvent) => void) {
    this.decoder = decoder;
    this.prefixCache = prefixCache;
    this.emit = emit;
  }

  get choices(): Choice[] {
    return this.prompts.map(({ choice }) => choice);
  }

  add(choice: Choice): void {
    const chunkEnds = planChunks(choice.request.promptIds.length, choice.request.sharedLength);
    this.prompts.push({ choice, chunkEnds, completedChunks: 0, prefix: null, hasStarted: false });
  }

  remove(shouldRemove: (choice: Choice) => boolean): void {
    this.prompts = this.prompts.filter(({ choice }) => !shouldRemove(choice));
    if (this.prompts.every(({ prefix }) => prefix !== this.lastRun?.prefix)) this.lastRun = null;
  }

  /** Returns the prompts that are now complete. `decodingSequences` is the number of sequences that wait for this step. */
  async step(decodingSequences: number): Promise<PendingPrompt[]> {
    this.prefilledTokens = 0;
    this.cachedTokens = 0;
    const complete = this.removeComplete();
    // Short prompts share a run; the run is larger if more prompts wait for it than sequences are stalled by it.
    const chunksPerRun = Math.min(MAX_CHUNKS_PER_RUN, Math.max(1, Math.floor(this.prompts.length / decodingSequences)));
    for (let budget = CHUNK_TOKENS; budget > 0; ) {
      const batch = this.selectBatch(budget === CHUNK_TOKENS ? chunksPerRun * CHUNK_TOKENS : budget);
      if (batch.length === 0) break;
      budget -= await this.runBatch(batch);
      complete.push(...this.removeComplete());
    }
    return complete;
  }

  private removeComplete(): PendingPrompt[] {
    for (const prompt of this.prompts) this.reuseCachedChunks(prompt);
    const complete = this.prompts.filter((prompt) => remainingChunks(prompt) === 0);
    if (complete.length > 0) this.prompts = this.prompts.filter((prompt) => remainingChunks(prompt) > 0);
    return complete;
  }

  private reuseCachedChunks(prompt: PendingPrompt): void {
    const { completedChunks } = prompt;
    while (remainingChunks(prompt) > 0) {
      const chunk = nextChunk(prompt);
      const cached = this.prefixCache.find(prompt.prefix, chunk);
      if (!cached) break;
      this.emitStart(prompt);
      this.cachedTokens += chunk.length;
      prompt.prefix = cached;
      prompt.completedChunks++;
    }
    if (prompt.completedChunks > completedChunks) this.prefixCache.touch(prompt.prefix!);
  }

  /**
   * Every other run is for the oldest prompt, so that it completes; the runs between are for the prompt with the fewest
   * chunks left, so that short prompts do not wait for long ones.
   */
  private selectNext(): PendingPrompt | undefined {
    const [oldest] = this.prompts;
    if (!oldest || this.runCount % 2 === 0) return oldest;
    return this.prompts.reduce(
      (best, prompt) => (remainingChunks(prompt) < remainingChunks(best) ? prompt : best),
      oldest,
    );
  }

  /** The next prompt. If it is at its first chunk, others at their first chunk with about as many tokens join it. */
  private selectBatch(budget: number): PendingPrompt[] {
    const first = this.selectNext();
    if (!first || nextChunk(first).length > budget) return [];
    const batch = [first];
    if (first.prefix) return batch;
    const keys = new Set([chunkKey(null, nextChunk(first))]);
    let [shortest, longest] = [nextChunk(first).length, nextChunk(first).length];
    for (const prompt of this.prompts) {
      const chunk = nextChunk(prompt);
      const key = chunkKey(prompt.prefix, chunk);
      if (prompt.prefix || keys.has(key)) continue;
      const [low, high] = [Math.min(shortest, chunk.length), Math.max(longest, chunk.length)];
      if (high - low > MAX_PADDING_TOKENS || (batch.length + 1) * high > budget) continue;
      [shortest, longest] = [low, high];
      keys.add(key);
      batch.push(prompt);
    }
    return batch;
  }

  /** Computes the next chunk of each prompt; returns the number of tokens, padding included. */
  private async runBatch(batch: PendingPrompt[]): Promise<number> {
    this.runCount++;
    const chunks = batch.map(nextChunk);
    for (const prompt of batch) this.emitStart(prompt);
    const past = this.createPastCache(batch);
    try {
      const outputs = await this.decoder.prefill(past, chunks);
      for (const [i, prompt] of batch.entries()) this.addOutput(prompt, outputs[i]!);
      const [first] = batch as [PendingPrompt];
      if (batch.length === 1 && this.prompts.includes(first) && remainingChunks(first) > 0) {
        past.appendBlock(0, outputs[0]!.block);
        this.lastRun = { prefix: first.prefix, past };
      }
    } catch (error) {
      // One invalid prompt fails the whole batch: rerun each alone, so that only that one fails.
      if (batch.length === 1) this.fail(batch[0]!, error);
      else for (const prompt of batch) await this.runBatch([prompt]);
    } finally {
      if (this.lastRun?.past !== past) past.clear();
    }
    return chunks.length * Math.max(...chunks.map(({ length }) => length));
  }

  /** A cache with a row per prompt, filled with its prefix. The prompt of the last run gets that run's cache. */
  private createPastCache(batch: PendingPrompt[]): KvCache {
    const { prefix } = batch[0]!;
    const { lastRun } = this;
    this.lastRun = null;
    if (lastRun && prefix && lastRun.prefix === prefix) return lastRun.past;
    lastRun?.past.clear();
    const past = this.decoder.createCache();
    const blocks = collectKvBlocks(prefix);
    const pastLength = blocks.reduce((sum, { length }) => sum + length, 0);
    for (const _ of batch) past.addRow(pastLength);
    for (const block of blocks) past.appendBlock(0, block);
    return past;
  }

  private addOutput(prompt: PendingPrompt, output: PrefillOutput): void {
    if (!Number.isFinite(output.logNormalizer)) {
      this.fail(prompt, new Error('the logits are not finite'));
      return;
    }
    const chunk = nextChunk(prompt);
    this.prefilledTokens += chunk.length;
    prompt.prefix = this.prefixCache.add(prompt.prefix, chunk, output);
    prompt.completedChunks++;
  }

  private emitStart(prompt: PendingPrompt): void {
    if (prompt.hasStarted) return;
    prompt.hasStarted = true;
    const { request, index } = prompt.choice;
    this.emit({ type: 'start', id: request.id, index, queuedSeconds: epochSeconds() - request.arrivedAt });
  }

  private fail(prompt: PendingPrompt, error: unknown): void {
    this.prompts = this.prompts.filter((other) => other !== prompt);
    const { request, index } = prompt.choice;
    this.emit({ type: 'failed', id: request.id, index, message: getErrorMessage(error) });
  }
}

function remainingChunks({ chunkEnds, completedChunks }: PendingPrompt): number {
  return chunkEnds.length - completedChunks;
}

function nextChunk({ choice, chunkEnds, completedChunks }: PendingPrompt): number[] {
  return choice.request.promptIds.slice(chunkEnds[completedChunks - 1] ?? 0, chunkEnds[completedChunks]);
}
