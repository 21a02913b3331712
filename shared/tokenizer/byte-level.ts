// Builds a tokenizer.json of byte-level BPE (GPT-2 and most models since): a text is split into words by regular
// expressions, each word's UTF-8 bytes become letters, and these are merged.
import { makeAddedToken, makePrefixProcessor } from './tokenizer-json.ts';

export type ByteLevelTokenizer = {
  /** In the letters that stand for bytes; added tokens in plain text. */
  vocab: ReadonlyMap<string, number>;
  merges: string[];
  /** Whether a word that is in the vocabulary is one token, whatever its merges. */
  ignoreMerges: boolean;
  /** One after the other: each match, and each text between matches, is a word. */
  patterns: readonly string[];
  /** Whether a text is brought into Unicode's composed form first. */
  isComposed: boolean;
  added: { id: number; content: string; special: boolean }[];
  prefix: { id: number; content: string } | null;
};

export function buildByteLevelJson(tokenizer: ByteLevelTokenizer): Record<string, unknown> {
  const splits = tokenizer.patterns.map((Regex) => ({
    type: 'Split',
    pattern: { Regex },
    behavior: 'Isolated',
    invert: false,
  }));
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: tokenizer.added.map(({ id, content, special }) => makeAddedToken(id, content, special)),
    normalizer: tokenizer.isComposed ? { type: 'NFC' } : null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [...splits, { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false }],
    },
    post_processor: makePrefixProcessor(tokenizer.prefix),
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: tokenizer.ignoreMerges,
      vocab: Object.fromEntries(tokenizer.vocab),
      merges: tokenizer.merges,
    },
  };
}
