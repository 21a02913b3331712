// Computes the prompts of choices that have a row to come to. A turn computes one chunk's worth of tokens: a piece of a
// long prompt, or several short prompts together. Nothing is computed that is known from another prompt, or that another
// is about to compute.

import type { Computed, Decoder } from '../../shared/decoder/decoder.ts';
import type { KvCache } from '../../shared/decoder/kv-cache.ts';
import { CHUNK, planChunks } from './chunking.ts';
import { blocksOf, nameChunk, type Prefix, type Prefixes } from './prefix-cache.ts';
import { type Choice, clock, type JobEvent } from './request.ts';

/** A choice whose prompt is computed up to a prefix. */
export type Prompt = { choice: Choice; ends: number[]; done: number; prefix: Prefix | null; hasBegun: boolean };

/** Padding costs as much as tokens: prompts that differ more in length than a run of its own costs are not joined. */
const MOST_PADDING = 16;

/** Chunks' worth of short prompts in one run. */
const MOST_TOGETHER = 4;

export class Prefill {
  /** Tokens computed, and tokens that were known, since the last turn began. */
  computed = 0;
  reused = 0;
  private readonly decoder: Decoder;
  private readonly prefixes: Prefixes;
  private readonly emit: (event: JobEvent) => void;
  /** In the order in which they came. */
  private prompts: Prompt[] = [];
  private runs = 0;
  /** What the last run computed over, where its prompt goes on. */
  private last: { prefix: Prefix | null; past: KvCache } | null = null;

  constructor(decoder: Decoder, prefixes: Prefixes, emit: (event: JobEvent) => void) {
    this.decoder = decoder;
    this.prefixes = prefixes;
    this.emit = emit;
  }

  get choices(): Choice[] {
    return this.prompts.map(({ choice }) => choice);
  }

  add(choice: Choice): void {
    const ends = planChunks(choice.job.promptIds.length, choice.job.sharedLength);
    this.prompts.push({ choice, ends, done: 0, prefix: null, hasBegun: false });
  }

  remove(isGone: (choice: Choice) => boolean): void {
    this.prompts = this.prompts.filter(({ choice }) => !isGone(choice));
    if (this.prompts.every(({ prefix }) => prefix !== this.last?.prefix)) this.last = null;
  }

  /** Returns the prompts that are complete now; `rows` decode meanwhile, and each is stalled by what is computed. */
  async turn(rows: number): Promise<Prompt[]> {
    this.computed = 0;
    this.reused = 0;
    const complete = this.takeComplete();
    // Short prompts share a run, and a larger one where more of them wait than rows are stalled by it.
    const together = Math.min(MOST_TOGETHER, Math.max(1, Math.floor(this.prompts.length / rows)));
    for (let budget = CHUNK; budget > 0; ) {
      const batch = this.chooseBatch(budget === CHUNK ? together * CHUNK : budget);
      if (batch.length === 0) break;
      budget -= await this.compute(batch);
      complete.push(...this.takeComplete());
    }
    return complete;
  }

  private takeComplete(): Prompt[] {
    for (const prompt of this.prompts) this.recall(prompt);
    const complete = this.prompts.filter(({ done, ends }) => done === ends.length);
    if (complete.length > 0) this.prompts = this.prompts.filter(({ done, ends }) => done < ends.length);
    return complete;
  }

  private recall(prompt: Prompt): void {
    const { done } = prompt;
    while (prompt.done < prompt.ends.length) {
      const chunk = nextChunk(prompt);
      const known = this.prefixes.find(prompt.prefix, chunk);
      if (!known) break;
      this.begin(prompt);
      this.reused += chunk.length;
      prompt.prefix = known;
      prompt.done++;
    }
    if (prompt.done > done) this.prefixes.touch(prompt.prefix!);
  }

  /**
   * Every other run is the oldest's, so that it ends; the runs between are for whoever is nearest to its end, so that
   * short prompts do not wait for long ones.
   */
  private chooseFirst(): Prompt | undefined {
    const [oldest] = this.prompts;
    if (!oldest || this.runs % 2 === 0) return oldest;
    const left = ({ ends, done }: Prompt) => ends.length - done;
    return this.prompts.reduce((best, prompt) => (left(prompt) < left(best) ? prompt : best), oldest);
  }

  /** The first in line, and, if it is at its beginning, others who are and have about as many tokens. */
  private chooseBatch(budget: number): Prompt[] {
    const first = this.chooseFirst();
    if (!first || nextChunk(first).length > budget) return [];
    const batch = [first];
    if (first.prefix) return batch;
    const names = new Set([nameChunk(null, nextChunk(first))]);
    let [shortest, longest] = [nextChunk(first).length, nextChunk(first).length];
    for (const prompt of this.prompts) {
      const chunk = nextChunk(prompt);
      const name = nameChunk(prompt.prefix, chunk);
      if (prompt.prefix || names.has(name)) continue;
      const [low, high] = [Math.min(shortest, chunk.length), Math.max(longest, chunk.length)];
      if (high - low > MOST_PADDING || (batch.length + 1) * high > budget) continue;
      [shortest, longest] = [low, high];
      names.add(name);
      batch.push(prompt);
    }
    return batch;
  }

  /** Computes the next chunk of each; returns how many tokens that was, padding included. */
  private async compute(batch: Prompt[]): Promise<number> {
    this.runs++;
    const chunks = batch.map(nextChunk);
    for (const prompt of batch) this.begin(prompt);
    const past = this.openPast(batch);
    try {
      const computed = await this.decoder.compute(past, chunks);
      for (const [i, prompt] of batch.entries()) this.take(prompt, computed[i]!);
      if (batch.length === 1 && this.prompts.includes(batch[0]!) && batch[0]!.done < batch[0]!.ends.length) {
        past.write(0, computed[0]!.block);
        this.last = { prefix: batch[0]!.prefix, past };
      }
    } catch (error) {
      // Together they fail together; alone only the one that is at fault.
      if (batch.length === 1) this.fail(batch[0]!, error);
      else for (const prompt of batch) await this.compute([prompt]);
    } finally {
      if (this.last?.past !== past) past.clear();
    }
    return chunks.length * Math.max(...chunks.map(({ length }) => length));
  }

  /** A row for each, with what its prefix holds. A prompt that goes on where the last run ended finds it as it was. */
  private openPast(batch: Prompt[]): KvCache {
    const { prefix } = batch[0]!;
    const { last } = this;
    this.last = null;
    if (last && prefix && last.prefix === prefix) return last.past;
    last?.past.clear();
    const past = this.decoder.createCache();
    const blocks = blocksOf(prefix);
    const pastLength = blocks.reduce((sum, { length }) => sum + length, 0);
    for (const _ of batch) past.addRow(pastLength);
    for (const block of blocks) past.write(0, block);
    return past;
  }

  private take(prompt: Prompt, computed: Computed): void {
    if (!Number.isFinite(computed.logNormalizer)) {
      this.fail(prompt, new Error('the policy computed logits that are not finite'));
      return;
    }
    const chunk = nextChunk(prompt);
    this.computed += chunk.length;
    prompt.prefix = this.prefixes.keep(prompt.prefix, chunk, computed);
    prompt.done++;
  }

  private begin(prompt: Prompt): void {
    if (prompt.hasBegun) return;
    prompt.hasBegun = true;
    const { job, index } = prompt.choice;
    this.emit({ type: 'start', id: job.id, index, waited: clock() - job.arrived });
  }

  private fail(prompt: Prompt, error: unknown): void {
    this.prompts = this.prompts.filter((other) => other !== prompt);
    const { job, index } = prompt.choice;
    const message = error instanceof Error ? error.message : String(error);
    this.emit({ type: 'failed', id: job.id, index, message });
  }
}

function nextChunk({ choice, ends, done }: Prompt): number[] {
  return choice.job.promptIds.slice(ends[done - 1] ?? 0, ends[done]);
}
