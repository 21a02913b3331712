// The beginnings of prompts that were computed lately, chunk by chunk: a prompt that begins with the same tokens, cut in
// the same places, takes them from here and gets the very numbers that computing them again would give.

import type { PrefillOutput } from '../../shared/decoder/decoder.ts';
import type { KvBlock } from '../../shared/decoder/kv-cache.ts';

/** A chunk after the chunks before it. */
export type Prefix = PrefillOutput & { parent: Prefix | null; serial: number; key: string };

export class PrefixCache {
  bytes = 0;
  /** The least recently used first. */
  private readonly known = new Map<string, Prefix>();
  private made = 0;

  find(parent: Prefix | null, tokens: readonly number[]): Prefix | undefined {
    return this.known.get(chunkKey(parent, tokens));
  }

  add(parent: Prefix | null, tokens: readonly number[], computed: PrefillOutput): Prefix {
    const prefix = { ...computed, parent, serial: ++this.made, key: chunkKey(parent, tokens) };
    this.touch(prefix);
    return prefix;
  }

  /** Notes that it is of use, its end first, so that a chunk is never older than one that needs it. */
  touch(prefix: Prefix): void {
    for (let at: Prefix | null = prefix; at; at = at.parent) {
      this.forget(this.known.get(at.key));
      this.known.set(at.key, at);
      this.bytes += prefixBytes(at);
    }
  }

  /** Lets go of the least recently used until the rest takes no more than this. */
  trim(bytes: number): void {
    for (const prefix of this.known.values()) {
      if (this.bytes <= bytes) return;
      this.forget(prefix);
    }
  }

  private forget(prefix: Prefix | undefined): void {
    if (!prefix) return;
    this.known.delete(prefix.key);
    this.bytes -= prefixBytes(prefix);
  }
}

/** All chunks up to this one, in their order. */
export function kvBlocksOf(prefix: Prefix | null): KvBlock[] {
  const blocks: KvBlock[] = [];
  for (let at = prefix; at; at = at.parent) blocks.push(at.block);
  return blocks.reverse();
}

/** The tokens themselves and whom they follow: two chunks with the same name are the same. */
export function chunkKey(parent: Prefix | null, tokens: readonly number[]): string {
  return `${parent?.serial ?? 0}:${tokens.join()}`;
}

function prefixBytes({ block, logits }: Prefix): number {
  return block.data.byteLength + logits.byteLength;
}
