// A grammar over the tokens of a vocabulary: which tokens may come next, so that the text stays the beginning of a complete
// one. The end-of-sequence tokens may come exactly where the text is complete.
import { LRUCache } from 'lru-cache';
import { type TokenMask, toTokenMask } from '../../shared/decoder/token-mask.ts';
import { Automaton, type State } from './automaton.ts';
import type { Grammar } from './program.ts';
import { isFail, prune } from './prune.ts';
import { refuse } from './refuse.ts';
import type { TokenTrie } from './token-trie.ts';

/** `vocabSize`: the number of logits, which may be more than the tokenizer has tokens. */
export type Vocabulary = { eos: readonly number[]; vocabSize: number };

/** Tokens in the masks that are kept for each grammar: those of the states that its texts passed last. */
const MAX_KEPT_TOKENS = 2 ** 20;

export class TokenGrammar {
  private readonly automaton: Automaton;
  private readonly trie: TokenTrie;
  private readonly eos: readonly number[];
  private readonly vocabSize: number;
  private readonly masks = new LRUCache<State, TokenMask>({
    maxSize: MAX_KEPT_TOKENS,
    sizeCalculation: ({ tokens }) => tokens.length + 1,
  });

  constructor(grammar: Grammar, trie: TokenTrie, { eos, vocabSize }: Vocabulary) {
    const spelled = prune(grammar, (byte) => trie.hasByte(byte));
    if (isFail(spelled))
      throw refuse(
        'response_format',
        "the policy's tokenizer has no tokens for some of the schema's characters; use others",
      );
    this.automaton = new Automaton(spelled);
    this.trie = trie;
    this.eos = eos;
    this.vocabSize = vocabSize;
  }

  get start(): State {
    return this.automaton.start;
  }

  /** The tokens that may come next. */
  getMask(state: State): TokenMask {
    this.automaton.resetWork();
    const limited = this.automaton.limitCounts(state, this.trie.longest);
    const known = this.masks.get(limited);
    if (known) return known;
    const mask = this.computeMask(limited);
    this.masks.set(limited, mask);
    return mask;
  }

  /** The state after a token that the mask allows. */
  advance(state: State, token: number): State {
    const bytes = this.trie.getBytes(token) ?? '';
    let next: State | null = state;
    for (let at = 0; next && at < bytes.length; at++) next = this.automaton.advance(next, bytes.charCodeAt(at));
    if (!next) throw new Error(`internal: grammar: token ${token} is not allowed here`);
    return next;
  }

  private computeMask(state: State): TokenMask {
    const { bytes, depths, skips, tokenStarts, tokens } = this.trie;
    const { automaton } = this;
    const isAllowed = new Uint8Array(this.vocabSize);
    /** The state before each depth's byte. */
    const path: State[] = [state];
    for (let node = 0; node < bytes.length; ) {
      const depth = depths[node]!;
      const next = automaton.advance(path[depth]!, bytes[node]!);
      if (next === null) {
        node = skips[node]!;
        continue;
      }
      path[depth + 1] = next;
      for (let at = tokenStarts[node]!; at < tokenStarts[node + 1]!; at++) isAllowed[tokens[at]!] = 1;
      node++;
    }
    if (state.isComplete) for (const token of this.eos) isAllowed[token] = 1;
    return toTokenMask(isAllowed);
  }
}
