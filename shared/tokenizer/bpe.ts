// Builds a Llama-style tokenizer.json (BPE with byte fallback) from the scored pieces of a sentencepiece model or of
// llama2.c's tokenizer.bin. Scores become merge ranks, the highest score first. Pieces 0, 1, 2 are always <unk>, <s>, </s>.

export type Piece = { text: string; score: number };

const SPACE = '\u2581';

/** The byte-fallback piece of a byte: `<0x0A>`. */
export function formatByteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

/** A piece's id is its index. */
export function buildTokenizerJson(pieces: Piece[]): Record<string, unknown> {
  const specials = ['<unk>', '<s>', '</s>'];
  const byteFallback = pieces[3]?.text === formatByteToken(0);
  const firstText = byteFallback ? 3 + 256 : 3;
  const vocab = new Map<string, number>();
  for (const [id, { text }] of pieces.entries()) {
    const piece = specials[id] ?? (id < firstText ? text : text.replaceAll(' ', SPACE));
    if (vocab.has(piece)) throw new Error(`internal: bpe: piece ${JSON.stringify(piece)} is in the vocabulary twice`);
    vocab.set(piece, id);
  }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specials.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: SPACE },
        { type: 'Replace', pattern: { String: ' ' }, content: SPACE },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [
        { SpecialToken: { id: '<s>', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '<s>', type_id: 1 } },
        { Sequence: { id: 'B', type_id: 1 } },
      ],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: byteFallback,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab),
      merges: rankMerges(vocab, pieces, firstText),
    },
  };
}

/** Every merge of two pieces into a third, the highest score of the third first. */
function rankMerges(vocab: Map<string, number>, pieces: Piece[], firstText: number): string[] {
  const merges: { score: number; left: string; right: string }[] = [];
  for (const [piece, id] of vocab) {
    if (id < firstText) continue;
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
