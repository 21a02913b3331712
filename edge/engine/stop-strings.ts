// The visible text of one choice. Stop strings end it and are cut from it, so text that may be the beginning of one is
// held back until it is clear that it is not. Bytes of unfinished characters are TextStream's business.
import { IncrementalDetokenizer } from '../../shared/tokenizer/detokenizer.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';

export class StopStringDetokenizer {
  /** All text so far, cut at the stop string; what is still held back included. */
  text = '';
  isStopped = false;
  private readonly detokenizer: IncrementalDetokenizer;
  private readonly stopStrings: string[];
  private releasedLength = 0;

  constructor(tokenizer: Tokenizer, promptIds: number[], stop: string[]) {
    this.detokenizer = new IncrementalDetokenizer(tokenizer, promptIds);
    this.stopStrings = stop.filter((text) => text !== '');
  }

  /** Takes a token and returns the text that has become certain. */
  push(tokenId: number): string {
    this.appendText(this.detokenizer.push(tokenId));
    return this.release(this.isStopped ? this.text.length : this.text.length - this.heldBackLength());
  }

  /** No more tokens: nothing is held back any longer. Returns what was. */
  finish(): string {
    if (!this.isStopped) this.appendText(this.detokenizer.finish());
    return this.release(this.text.length);
  }

  private appendText(fresh: string): void {
    // A stop string can begin only in what is still held back.
    this.text += fresh;
    const found = this.stopStrings.map((text) => this.text.indexOf(text, this.releasedLength)).filter((at) => at >= 0);
    if (found.length === 0) return;
    this.isStopped = true;
    this.text = this.text.slice(0, Math.min(...found));
  }

  private release(until: number): string {
    const text = this.text.slice(this.releasedLength, until);
    this.releasedLength = Math.max(this.releasedLength, until);
    return text;
  }

  /** The length of the longest end of the text that a stop string begins with. */
  private heldBackLength(): number {
    const longest = Math.min(
      this.text.length - this.releasedLength,
      Math.max(0, ...this.stopStrings.map((text) => text.length - 1)),
    );
    for (let length = longest; length > 0; length--) {
      const end = this.text.slice(-length);
      if (this.stopStrings.some((text) => text.startsWith(end))) return length;
    }
    return 0;
  }
}
