// Incremental detokenization of a streamed completion. A token can end inside a UTF-8 character, and decoders treat the
// first token of a text specially, so tokens cannot be decoded one by one: each new token is decoded together with the
// few before it, and only text that can no longer change is returned.
import { removeCommonPrefix, type Tokenizer } from './tokenizer.ts';

/** The prompt's last tokens, which make the completion a continuation for the decoder. Enough for any character. */
const PROMPT_TOKENS = 8;
const REPLACEMENT_CHARACTER = '\uFFFD';

export class IncrementalDetokenizer {
  readonly #tokenizer: Tokenizer;
  /** `#releasedTokens` tokens whose text was returned, as context, then the tokens that are held back. */
  #window: number[];
  #releasedTokens: number;
  #releasedText: string;

  /** Continues the text of `promptIds`: after "Once upon a time", the token "▁there" is " there", not "there". */
  constructor(tokenizer: Tokenizer, promptIds: number[] = []) {
    this.#tokenizer = tokenizer;
    this.#window = promptIds.filter((id) => !tokenizer.isSpecial(id)).slice(-PROMPT_TOKENS);
    this.#releasedTokens = this.#window.length;
    this.#releasedText = tokenizer.decode(this.#window);
  }

  /** Adds a token and returns the text that is now certain, usually all of it, sometimes none. */
  push(id: number): string {
    // A special token in the window would make the decoder treat the next token as the first of a text.
    if (this.#tokenizer.isSpecial(id)) return '';
    this.#window.push(id);
    const text = this.#tokenizer.decode(this.#window);
    // A replacement character at the end is a UTF-8 character whose other bytes are in later tokens.
    if (text.endsWith(REPLACEMENT_CHARACTER)) return '';
    return this.#release(text);
  }

  /** Returns the text that was held back, including replacement characters. */
  finish(): string {
    return this.#release(this.#tokenizer.decode(this.#window));
  }

  #release(text: string): string {
    const added = removeCommonPrefix(this.#releasedText, text);
    // Tokens without text (a lone first space that the decoder strips) stay in the window, for the next token.
    if (added === '') return '';
    this.#window = this.#window.slice(this.#releasedTokens);
    this.#releasedTokens = this.#window.length;
    this.#releasedText = this.#tokenizer.decode(this.#window);
    return added;
  }
}
