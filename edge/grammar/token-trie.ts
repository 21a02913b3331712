// A vocabulary as a trie of its tokens' bytes, laid out depth first: a walk that meets a byte which a text cannot have skips
// all tokens that begin so.

/** The bytes of each token, one character each; null: a token without text, such as a special one. */
export type TokenBytes = readonly (string | null)[];

export class TokenTrie {
  /** The byte of each node, its depth, the node after its descendants, and its tokens: tokens[tokenStarts[i]..] */
  readonly bytes: Uint8Array;
  readonly depths: Int32Array;
  readonly skips: Int32Array;
  readonly tokenStarts: Int32Array;
  readonly tokens: Int32Array;
  /** Bytes of the longest token. */
  readonly longest: number;
  private readonly texts: TokenBytes;
  private readonly single = new Uint8Array(256);

  constructor(texts: TokenBytes) {
    this.texts = texts;
    const sorted = [...texts.keys()]
      .filter((token) => texts[token])
      .sort((a, b) => compare(texts[a]!, texts[b]!) || a - b);
    const total = sorted.reduce((sum, token) => sum + texts[token]!.length, 0);
    this.tokens = Int32Array.from(sorted);
    const [bytes, depths, skips, starts] = [
      new Uint8Array(total),
      new Int32Array(total),
      new Int32Array(total),
      new Int32Array(total + 1),
    ];
    /** The node of each byte of the last token. */
    const path: number[] = [];
    let [count, longest, previous] = [0, 0, ''];
    const close = (length: number) => {
      while (path.length > length) skips[path.pop()!] = count;
    };
    for (const [at, token] of sorted.entries()) {
      const text = texts[token]!;
      longest = Math.max(longest, text.length);
      if (text.length === 1) this.single[text.charCodeAt(0)] = 1;
      close(countCommon(previous, text));
      while (path.length < text.length) {
        bytes[count] = text.charCodeAt(path.length);
        depths[count] = path.length;
        starts[count] = at;
        path.push(count++);
      }
      previous = text;
    }
    close(0);
    starts[count] = sorted.length;
    // A node's tokens sort before those of its descendants, which begin where the next node's do.
    this.bytes = bytes.slice(0, count);
    this.depths = depths.slice(0, count);
    this.skips = skips.slice(0, count);
    this.tokenStarts = starts.slice(0, count + 1);
    this.longest = longest;
  }

  get size(): number {
    return this.texts.length;
  }

  getBytes(token: number): string | null {
    return this.texts[token] ?? null;
  }

  /** Whether a token is this byte alone. */
  hasByte(byte: number): boolean {
    return this.single[byte] === 1;
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function countCommon(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return at;
}
