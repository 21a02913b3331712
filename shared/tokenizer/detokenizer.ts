// Token ids in, text out, while a response is still growing. A token can end inside a UTF-8 character, and decoders
// treat the first token of a text specially, so single tokens cannot be decoded alone: each new one is decoded together
// with the few before it, and only what cannot change any more is given out.
import { removeCommonPrefix, type Tokenizer } from './tokenizer.ts';

/** Enough tokens for any character; the prompt's last ones tell the decoder that the response is no beginning. */
const PROMPT_TOKENS = 8;
const REPLACEMENT = '\uFFFD';

export class IncrementalDetokenizer {
  readonly #tokenizer: Tokenizer;
  /** The tokens still needed: `#given` that were given out as text, then those held back. */
  #window: number[];
  #given: number;
  #givenText: string;

  /** Continues the text of `promptIds`: after "Once upon a time", the token "▁there" is " there", not "there". */
  constructor(tokenizer: Tokenizer, promptIds: number[] = []) {
    this.#tokenizer = tokenizer;
    this.#window = promptIds.filter((id) => !tokenizer.isSpecial(id)).slice(-PROMPT_TOKENS);
    this.#given = this.#window.length;
    this.#givenText = tokenizer.decode(this.#window);
  }

  /** Takes the next token and returns the text that has become certain, often all of it, sometimes none. */
  push(id: number): string {
    // A special token in the window would hide from the decoder that there is text before it.
    if (this.#tokenizer.isSpecial(id)) return '';
    this.#window.push(id);
    const text = this.#tokenizer.decode(this.#window);
    // The replacement character at the end is the beginning of a character whose other bytes are yet to come.
    if (text.endsWith(REPLACEMENT)) return '';
    return this.#release(text);
  }

  /** Returns what was held back, replacement characters and all. */
  finish(): string {
    return this.#release(this.#tokenizer.decode(this.#window));
  }

  #release(text: string): string {
    const fresh = removeCommonPrefix(this.#givenText, text);
    // Tokens without any text yet (a first lone space that the decoder strips) stay, to be seen with their successors.
    if (fresh === '') return '';
    this.#window = this.#window.slice(this.#given);
    this.#given = this.#window.length;
    this.#givenText = this.#tokenizer.decode(this.#window);
    return fresh;
  }
}
