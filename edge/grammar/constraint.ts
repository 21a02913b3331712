// What one generation may still say: its grammar, and where in it the text is.
import { LRUCache } from 'lru-cache';
import type { TokenMask } from '../../shared/decoder/token-mask.ts';
import type { State } from './automaton.ts';
import type { Grammar } from './program.ts';
import { TokenGrammar, type Vocabulary } from './token-grammar.ts';
import { type TokenBytes, TokenTrie } from './token-trie.ts';

export class Constraint {
  private readonly grammar: TokenGrammar;
  private state: State;

  constructor(grammar: TokenGrammar) {
    this.grammar = grammar;
    this.state = grammar.start;
  }

  getMask(): TokenMask {
    return this.grammar.getMask(this.state);
  }

  /** `token`: one that the mask allows. */
  advance(token: number): void {
    this.state = this.grammar.advance(this.state, token);
  }
}

/** Grammars with what is known about their states: the next request with an equal one finds it. */
const MAX_GRAMMARS = 16;

/** The grammars of one policy, and its vocabulary, which is asked for when the first one is needed. */
export class Constraints {
  private readonly vocabulary: Vocabulary;
  private readonly listTokenBytes: () => TokenBytes;
  private readonly grammars = new LRUCache<string, TokenGrammar>({ max: MAX_GRAMMARS });
  private trie: TokenTrie | null = null;

  constructor(vocabulary: Vocabulary, listTokenBytes: () => TokenBytes) {
    this.vocabulary = vocabulary;
    this.listTokenBytes = listTokenBytes;
  }

  /** Throws an AttuneError if the policy's tokens cannot spell the grammar's texts. */
  open(grammar: Grammar): Constraint {
    this.trie ??= new TokenTrie(this.listTokenBytes());
    const known = this.grammars.get(grammar.source) ?? new TokenGrammar(grammar, this.trie, this.vocabulary);
    this.grammars.set(grammar.source, known);
    return new Constraint(known);
  }
}
