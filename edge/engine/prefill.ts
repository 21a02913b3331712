// Computes the prompts of admitted choices. A step computes about one chunk of tokens: a chunk of a long prompt, or
// several short prompts together. Chunks in the prefix cache are not computed again, and a run has no chunk twice. A given
// response is computed like a prompt, in chunks of its own, which also give the log-probability of each of its tokens.
import type { Decoder, PrefillOutput } from '../../shared/decoder/decoder.ts';
import type { KvCache } from '../../shared/decoder/kv-cache.ts';
import { getErrorMessage } from '../../shared/error.ts';
import { CHUNK_TOKENS, planChunks, planScoredChunks } from './chunking.ts';
import { chunkKey, collectKvBlocks, type Prefix, type PrefixCache, type Start } from './prefix-cache.ts';
import { type Choice, type EngineEvent, epochSeconds } from './request.ts';

/** A choice whose prompt is computed up to `prefix`, and then its response if that is given. */
type PendingPrompt = {
  choice: Choice;
  /** Of the prompt, and of the response but its last one. */
  tokens: number[];
  chunkEnds: number[];
  completedChunks: number;
  prefix: Prefix | null;
  hasStarted: boolean;
  /** Of the response's tokens so far; null if it is to be generated. */
  logprobs: number[] | null;
};

/** Padding costs as much as tokens: prompts whose lengths differ by more are cheaper in separate runs. */
const MAX_PADDING_TOKENS = 16;

/** A run of short prompts has at most as many tokens as this many chunks. */
const MAX_CHUNKS_PER_RUN = 4;

/** A prompt's cache grows by so many positions. */
const RESERVED_TOKENS = 512;

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
    const { promptIds, sharedLengths, response } = choice.request;
    const chunkEnds = planChunks(promptIds.length, sharedLengths);
    const pending = { choice, completedChunks: 0, prefix: null, hasStarted: false };
    if (!response || !this.decoder.scoresChunks) {
      this.prompts.push({ ...pending, tokens: promptIds, chunkEnds, logprobs: null });
      return;
    }
    // What would follow the last token is not wanted.
    const tokens = [...promptIds, ...response.slice(0, -1)];
    chunkEnds.push(...planScoredChunks(promptIds.length, response.length - 1, this.decoder.architecture.vocabSize));
    this.prompts.push({ ...pending, tokens, chunkEnds, logprobs: [] });
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
    for (const prompt of complete) scoreFirst(prompt);
    if (complete.length > 0) this.prompts = this.prompts.filter((prompt) => remainingChunks(prompt) > 0);
    return complete;
  }

  private reuseCachedChunks(prompt: PendingPrompt): void {
    const { completedChunks } = prompt;
    while (remainingChunks(prompt) > 0 && !isScored(prompt)) {
      const chunk = nextChunk(prompt);
      const cached = this.prefixCache.find(previous(prompt), chunk);
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
    const keys = new Set([chunkKey(previous(first), nextChunk(first))]);
    let [shortest, longest] = [nextChunk(first).length, nextChunk(first).length];
    for (const prompt of this.prompts) {
      const chunk = nextChunk(prompt);
      const key = chunkKey(previous(prompt), chunk);
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
      const outputs = isScored(batch[0]!)
        ? [await this.runScored(batch[0]!, past)]
        : await this.decoder.prefill(past, chunks);
      for (const [i, prompt] of batch.entries()) this.addOutput(prompt, outputs[i]!);
      const [first] = batch as [PendingPrompt];
      if (batch.length === 1 && this.prompts.includes(first) && remainingChunks(first) > 0) {
        past.reserve(reservedLength(first, past.lengths[0]! + chunks[0]!.length));
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

  /** A chunk of a given response. */
  private async runScored(prompt: PendingPrompt, past: KvCache): Promise<PrefillOutput> {
    scoreFirst(prompt);
    const { choice, logprobs } = prompt;
    const chunk = nextChunk(prompt);
    const targets = choice.request.response!.slice(logprobs!.length, logprobs!.length + chunk.length);
    const scored = await this.decoder.prefillAndScore(past, chunk, targets);
    if (!scored.logprobs.every(Number.isFinite)) throw new Error('the logits are not finite');
    logprobs!.push(...scored.logprobs);
    return scored.output;
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
    for (const prompt of batch) past.addRow(prefix ? reservedLength(prompt, pastLength) : 0);
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
    // A chunk of a given response is never looked up: only the prompt that waits for the rest keeps it.
    prompt.prefix = isScored(prompt)
      ? this.prefixCache.extend(previous(prompt), chunk, output)
      : this.prefixCache.add(previous(prompt), chunk, output);
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

/** What its next chunk follows. */
function previous({ prefix, choice }: PendingPrompt): Prefix | Start {
  return prefix ?? choice.request.tenant;
}

/** Room for `length` positions and some of the following chunks: a cache that grew with every chunk would be copied as often. */
function reservedLength({ tokens }: PendingPrompt, length: number): number {
  return Math.min(tokens.length, Math.ceil(length / RESERVED_TOKENS) * RESERVED_TOKENS);
}

function nextChunk({ tokens, chunkEnds, completedChunks }: PendingPrompt): number[] {
  return tokens.slice(chunkEnds[completedChunks - 1] ?? 0, chunkEnds[completedChunks]);
}

/** Whether the next chunk is of a given response. */
function isScored({ choice, chunkEnds, completedChunks, logprobs }: PendingPrompt): boolean {
  return logprobs !== null && (chunkEnds[completedChunks - 1] ?? 0) >= choice.request.promptIds.length;
}

/** The first token of a given response follows the prompt, whose last logits are known once it is computed. */
function scoreFirst({ choice, prefix, logprobs }: PendingPrompt): void {
  if (logprobs?.length !== 0) return;
  logprobs.push(prefix!.logits[choice.request.response![0]!]! - prefix!.logNormalizer);
}
