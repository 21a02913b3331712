// Builds a tokenizer.json (BPE with byte fallback) from the scored pieces of a sentencepiece model, of a GGUF file or of
// llama2.c's tokenizer.bin. Scores become merge ranks, the highest score first.
import { makeAddedToken, makePrefixProcessor } from './tokenizer-json.ts';

export type Piece = {
  text: string;
  score: number;
  /** A special token is in no text. A user's token is found in a text before its pieces are merged. Default: neither. */
  kind?: 'special' | 'user';
};

/** How a model differs from Llama. */
export type PieceOptions = {
  /** The id of the token for characters without a piece; default: 0. */
  unknown?: number;
  /** The id of the token before each text, or null; default: 1. */
  prefix?: number | null;
  /** Whether a text gets a space before its first word; default: true. */
  hasSpacePrefix?: boolean;
};

const SPACE = '\u2581';
const BYTE_TOKEN = /^<0x[0-9A-F]{2}>$/;

/** The byte-fallback piece of a byte: `<0x0A>`. */
export function formatByteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

/** A piece's id is its index. Without `kind`s, pieces 0, 1, 2 are special, as in Llama: <unk>, <s>, </s>. */
export function buildTokenizerJson(
  pieces: Piece[],
  { unknown = 0, prefix = 1, hasSpacePrefix = true }: PieceOptions = {},
): Record<string, unknown> {
  const hasKinds = pieces.some(({ kind }) => kind);
  const kindOf = (id: number) => (hasKinds ? pieces[id]!.kind : id < 3 ? 'special' : undefined);
  const vocab = new Map<string, number>();
  for (const [id, { text }] of pieces.entries()) {
    const piece = kindOf(id) === 'special' ? text : text.replaceAll(' ', SPACE);
    if (vocab.has(piece)) throw new Error(`internal: bpe: piece ${JSON.stringify(piece)} is in the vocabulary twice`);
    vocab.set(piece, id);
  }
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: SPACE };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: pieces.flatMap(({ text }, id) => {
      const kind = kindOf(id);
      return kind ? [makeAddedToken(id, text, kind === 'special')] : [];
    }),
    normalizer: hasSpacePrefix
      ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: SPACE }, spaces] }
      : spaces,
    pre_tokenizer: null,
    post_processor: makePrefixProcessor(prefix === null ? null : { id: prefix, content: pieces[prefix]!.text }),
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(hasSpacePrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: pieces[unknown]!.text,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: vocab.has(formatByteToken(0)),
      ignore_merges: false,
      vocab: Object.fromEntries(vocab),
      merges: rankMerges(vocab, pieces, (id) => kindOf(id) !== 'special' && !BYTE_TOKEN.test(pieces[id]!.text)),
    },
  };
}

/** Every merge of two pieces into a third, the highest score of the third first. */
function rankMerges(vocab: Map<string, number>, pieces: Piece[], isText: (id: number) => boolean): string[] {
  const merges: { score: number; left: string; right: string }[] = [];
  for (const [piece, id] of vocab) {
    if (!isText(id)) continue;
    const splits = [];
    const characters = Array.from(piece);
    for (let cut = 1; cut < characters.length; cut++) {
      const left = characters.slice(0, cut).join('');
      const right = characters.slice(cut).join('');
      if (vocab.has(left) && vocab.has(right)) splits.push({ score: pieces[id]!.score, left, right });
    }
    splits.sort((a, b) => vocab.get(a.left)! - vocab.get(b.left)! || vocab.get(a.right)! - vocab.get(b.right)!);
    merges.push(...splits);
  }
  // The sort is stable: equal scores keep the order of the vocabulary.
  return merges.sort((a, b) => b.score - a.score).map(({ left, right }) => `${left} ${right}`);
}
