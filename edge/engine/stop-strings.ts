// Detokenizes one choice up to its first stop string. A stop string is cut from the text, so text that may be the start
// of one is held back until it is certain. IncrementalDetokenizer does the same for incomplete UTF-8 characters.
import { IncrementalDetokenizer } from '../../shared/tokenizer/detokenizer.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';

export class StopStringDetokenizer {
  /** All text so far, cut at the stop string; text that is held back is included. */
  text = '';
  isStopped = false;
  private readonly detokenizer: IncrementalDetokenizer;
  private readonly stopStrings: string[];
  /** text.slice(0, releasedLength) was returned by push. */
  private releasedLength = 0;

  constructor(tokenizer: Tokenizer, promptIds: number[], stop: string[]) {
    this.detokenizer = new IncrementalDetokenizer(tokenizer, promptIds);
    this.stopStrings = stop.filter((text) => text !== '');
  }

  /** Adds a token and returns the text that is now certain. */
  push(tokenId: number): string {
    this.appendText(this.detokenizer.push(tokenId));
    return this.release(this.isStopped ? this.text.length : this.text.length - this.heldBackLength());
  }

  /** Ends the text and returns what was held back. */
  finish(): string {
    if (!this.isStopped) this.appendText(this.detokenizer.finish());
    return this.release(this.text.length);
  }

  private appendText(added: string): void {
    this.text += added;
    // A stop string can start only in text that is held back.
    const starts = this.stopStrings.map((stop) => this.text.indexOf(stop, this.releasedLength)).filter((at) => at >= 0);
    if (starts.length === 0) return;
    this.isStopped = true;
    this.text = this.text.slice(0, Math.min(...starts));
  }

  private release(end: number): string {
    const text = this.text.slice(this.releasedLength, end);
    this.releasedLength = Math.max(this.releasedLength, end);
    return text;
  }

  /** The length of the text's longest suffix that is a prefix of a stop string. */
  private heldBackLength(): number {
    const longestStop = Math.max(0, ...this.stopStrings.map((stop) => stop.length - 1));
    for (let length = Math.min(this.text.length - this.releasedLength, longestStop); length > 0; length--) {
      const suffix = this.text.slice(-length);
      if (this.stopStrings.some((stop) => stop.startsWith(suffix))) return length;
    }
    return 0;
  }
}
