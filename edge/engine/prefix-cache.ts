// The prefix cache: chunks of recent prompts with their keys, values and logits. A prompt that starts with the same
// chunks reuses them; the results are bitwise those of computing them again. Each tenant has chunks of its own: how fast a
// prompt is answered would show what another tenant has asked.
import { LRUCache } from 'lru-cache';
import type { PrefillOutput } from '../../shared/decoder/decoder.ts';
import type { KvBlock } from '../../shared/decoder/kv-cache.ts';

/** A chunk, and through `parent` the chunks before it. */
export type Prefix = PrefillOutput & { parent: Prefix | null; serial: number; key: string };

/** The start of a prompt of this tenant. */
export type Start = string;

export class PrefixCache {
  /** Trimmed after each step instead of limited here: the budget is the memory that the decode batch leaves free. */
  private readonly prefixes = new LRUCache<string, Prefix>({
    maxSize: Number.MAX_SAFE_INTEGER,
    sizeCalculation: ({ block, logits }) => block.data.byteLength + (block.scales?.byteLength ?? 0) + logits.byteLength,
  });
  private lastSerial = 0;

  get bytes(): number {
    return this.prefixes.calculatedSize;
  }

  find(parent: Prefix | Start, tokens: readonly number[]): Prefix | undefined {
    return this.prefixes.peek(chunkKey(parent, tokens));
  }

  add(parent: Prefix | Start, tokens: readonly number[], output: PrefillOutput): Prefix {
    const prefix = this.extend(parent, tokens, output);
    this.touch(prefix);
    return prefix;
  }

  /** A chunk that is not kept here. */
  extend(parent: Prefix | Start, tokens: readonly number[], output: PrefillOutput): Prefix {
    const own = { serial: ++this.lastSerial, key: chunkKey(parent, tokens) };
    return { ...output, ...own, parent: typeof parent === 'string' ? null : parent };
  }

  /** Marks a prefix as just used, last chunk first, so that a chunk is evicted before the chunks that it continues. */
  touch(prefix: Prefix): void {
    for (let chunk: Prefix | null = prefix; chunk; chunk = chunk.parent) this.prefixes.set(chunk.key, chunk);
  }

  /** Evicts the least recently used chunks until the rest takes at most `maxBytes`. */
  trim(maxBytes: number): void {
    while (this.bytes > Math.max(0, maxBytes)) this.prefixes.pop();
  }
}

/** The KV blocks of all chunks up to this one, in order. */
export function collectKvBlocks(prefix: Prefix | null): KvBlock[] {
  const blocks: KvBlock[] = [];
  for (let chunk = prefix; chunk; chunk = chunk.parent) blocks.push(chunk.block);
  return blocks.reverse();
}

/** The tokens themselves and the chunk that they follow, or the tenant: chunks with equal keys are equal. */
export function chunkKey(parent: Prefix | Start, tokens: readonly number[]): string {
  return `${typeof parent === 'string' ? JSON.stringify(parent) : parent.serial}:${tokens.join()}`;
}
