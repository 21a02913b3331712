// The visible text of one choice. Stop strings end it and are cut from it, so text that may be the beginning of one is
// held back until it is clear that it is not. Bytes of unfinished characters are TextStream's business.
import { TextStream } from '../../shared/tokenizer/detokenizer.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';

export class StopText {
  /** All text so far, cut at the stop string; what is still held back included. */
  text = '';
  isStopped = false;
  private readonly stream: TextStream;
  private readonly stop: string[];
  private given = 0;

  constructor(tokenizer: Tokenizer, promptIds: number[], stop: string[]) {
    this.stream = new TextStream(tokenizer, promptIds);
    this.stop = stop.filter((text) => text !== '');
  }

  /** Takes a token and returns the text that has become certain. */
  push(tokenId: number): string {
    this.extend(this.stream.push(tokenId));
    return this.give(this.isStopped ? this.text.length : this.text.length - this.pending());
  }

  /** No more tokens: nothing is held back any longer. Returns what was. */
  finish(): string {
    if (!this.isStopped) this.extend(this.stream.finish());
    return this.give(this.text.length);
  }

  private extend(fresh: string): void {
    // A stop string can begin only in what is still held back.
    this.text += fresh;
    const found = this.stop.map((text) => this.text.indexOf(text, this.given)).filter((at) => at >= 0);
    if (found.length === 0) return;
    this.isStopped = true;
    this.text = this.text.slice(0, Math.min(...found));
  }

  private give(until: number): string {
    const text = this.text.slice(this.given, until);
    this.given = Math.max(this.given, until);
    return text;
  }

  /** The length of the longest end of the text that a stop string begins with. */
  private pending(): number {
    const longest = Math.min(this.text.length - this.given, Math.max(0, ...this.stop.map((text) => text.length - 1)));
    for (let length = longest; length > 0; length--) {
      const end = this.text.slice(-length);
      if (this.stop.some((text) => text.startsWith(end))) return length;
    }
    return 0;
  }
}
