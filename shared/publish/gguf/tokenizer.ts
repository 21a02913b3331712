// The tokenizer of a GGUF file as Hugging Face's files: byte-level BPE (`gpt2`) with the pre-tokenizer that its metadata
// names, or the scored pieces of sentencepiece (`llama`).
import { z } from 'zod';
import { AttuneError } from '../../error.ts';
import { buildTokenizerJson, type Piece } from '../../tokenizer/bpe.ts';
import { buildByteLevelJson } from '../../tokenizer/byte-level.ts';
import { type GgufFile, unsupportedGguf } from './file.ts';
import { PRE_TOKENIZERS } from './pre-tokenizers.ts';

export type GgufTokenizer = {
  /** The contents of tokenizer.json and tokenizer_config.json. */
  tokenizer: Record<string, unknown>;
  tokenizerConfig: Record<string, unknown>;
  special: { bos_token_id: number | null; eos_token_id: number[] };
};

const id = z.int().nonnegative().optional();
const keysSchema = z.looseObject({
  'tokenizer.ggml.tokens': z.array(z.string()).min(1),
  'tokenizer.ggml.token_type': z.array(z.int()),
  'tokenizer.ggml.scores': z.array(z.number()).optional(),
  'tokenizer.ggml.merges': z.array(z.string()).optional(),
  'tokenizer.ggml.pre': z.string().optional(),
  'tokenizer.ggml.bos_token_id': id,
  'tokenizer.ggml.eos_token_id': id,
  'tokenizer.ggml.eot_token_id': id,
  'tokenizer.ggml.eom_token_id': id,
  'tokenizer.ggml.unknown_token_id': id,
  'tokenizer.ggml.padding_token_id': id,
  'tokenizer.ggml.add_bos_token': z.boolean().optional(),
  'tokenizer.ggml.add_space_prefix': z.boolean().optional(),
  'tokenizer.chat_template': z.string().optional(),
});
type Keys = z.infer<typeof keysSchema>;

/** ggml's token types. */
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;

/** Throws AttuneError for a tokenizer that Attune cannot read. */
export function readGgufTokenizer(file: GgufFile): GgufTokenizer {
  const model = file.metadata['tokenizer.ggml.model'];
  const build = model === 'gpt2' ? buildByteLevel : model === 'llama' ? buildSentencePiece : null;
  if (!build)
    throw unsupportedTokenizer(file, `tokenizer.ggml.model is ${JSON.stringify(model) ?? 'missing'}`, 'gpt2 and llama');
  const keys = parseKeys(file);
  const tokens = keys['tokenizer.ggml.tokens'];
  const getToken = (name: 'bos' | 'eos' | 'unknown' | 'padding') => {
    const tokenId = keys[`tokenizer.ggml.${name}_token_id`];
    return tokenId === undefined ? null : tokens[tokenId];
  };
  const ends = (['eos', 'eot', 'eom'] as const).map((name) => keys[`tokenizer.ggml.${name}_token_id`]);
  return {
    tokenizer: build(file, keys),
    tokenizerConfig: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: getToken('bos'),
      eos_token: getToken('eos'),
      unk_token: getToken('unknown'),
      pad_token: getToken('padding'),
      clean_up_tokenization_spaces: false,
      chat_template: keys['tokenizer.chat_template'],
    },
    special: {
      bos_token_id: keys['tokenizer.ggml.bos_token_id'] ?? null,
      eos_token_id: [...new Set(ends.filter((tokenId) => tokenId !== undefined))],
    },
  };
}

function parseKeys({ fileName, metadata }: GgufFile): Keys {
  const parsed = keysSchema.safeParse(metadata);
  const fail = (problem: string) =>
    new AttuneError(`${fileName}: ${problem}; convert the model again with a current llama.cpp`, {
      code: 'invalid_checkpoint',
    });
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw fail(`${path.join('.')}: ${message}`);
  }
  const keys = parsed.data;
  const count = keys['tokenizer.ggml.tokens'].length;
  for (const [key, value] of Object.entries(keys)) {
    if (key.endsWith('_token_id') && Number(value) >= count)
      throw fail(`${key} is ${value}, but tokenizer.ggml.tokens has ${count} tokens`);
    if (/^tokenizer\.ggml\.(scores|token_type)$/.test(key) && (value as unknown[]).length !== count)
      throw fail(`${key} has ${(value as unknown[]).length} entries for ${count} tokens`);
  }
  const seen = new Set<string>();
  for (const token of keys['tokenizer.ggml.tokens']) {
    if (seen.has(token)) throw fail(`tokenizer.ggml.tokens has ${JSON.stringify(token)} twice`);
    seen.add(token);
  }
  return keys;
}

function buildByteLevel(file: GgufFile, keys: Keys): Record<string, unknown> {
  const name = keys['tokenizer.ggml.pre'];
  const preTokenizer = PRE_TOKENIZERS.find(({ names }) => names.includes(name ?? ''));
  if (!preTokenizer) {
    const problem = `tokenizer.ggml.pre is ${JSON.stringify(name) ?? 'missing'}`;
    throw unsupportedTokenizer(file, problem, PRE_TOKENIZERS.flatMap(({ names }) => names).join(', '));
  }
  const merges = keys['tokenizer.ggml.merges'];
  if (!merges) throw unsupportedTokenizer(file, 'tokenizer.ggml.merges is missing', 'tokenizers with merges');
  const types = keys['tokenizer.ggml.token_type'];
  // Converters fill up the vocabulary to the size of the embedding table.
  const tokens = [...keys['tokenizer.ggml.tokens'].entries()].filter(([tokenId]) => types[tokenId] !== UNUSED);
  const bos = keys['tokenizer.ggml.bos_token_id'];
  const addsBos = keys['tokenizer.ggml.add_bos_token'] ?? preTokenizer.addsBos ?? false;
  return buildByteLevelJson({
    vocab: new Map(tokens.map(([tokenId, token]) => [token, tokenId])),
    merges,
    ignoreMerges: preTokenizer.ignoreMerges ?? false,
    patterns: preTokenizer.patterns,
    isComposed: preTokenizer.isComposed ?? false,
    added: tokens
      .filter(([tokenId]) => types[tokenId] === CONTROL || types[tokenId] === USER_DEFINED)
      .map(([tokenId, content]) => ({ id: tokenId, content, special: types[tokenId] === CONTROL })),
    prefix: addsBos && bos !== undefined ? { id: bos, content: keys['tokenizer.ggml.tokens'][bos]! } : null,
  });
}

function buildSentencePiece(file: GgufFile, keys: Keys): Record<string, unknown> {
  const scores = keys['tokenizer.ggml.scores'];
  if (!scores) throw unsupportedTokenizer(file, 'tokenizer.ggml.scores is missing', 'tokenizers with scores');
  const kinds: Record<number, Piece['kind']> = { [UNKNOWN]: 'special', [CONTROL]: 'special', [USER_DEFINED]: 'user' };
  const pieces = keys['tokenizer.ggml.tokens'].map((text, tokenId): Piece => {
    const kind = kinds[keys['tokenizer.ggml.token_type'][tokenId]!];
    // The parser's text decoder drops a byte order mark, which is a piece of Llama's.
    return { text: text || '\ufeff', score: scores[tokenId]!, ...(kind ? { kind } : {}) };
  });
  const addsBos = keys['tokenizer.ggml.add_bos_token'] ?? true;
  return buildTokenizerJson(pieces, {
    unknown: keys['tokenizer.ggml.unknown_token_id'] ?? 0,
    prefix: addsBos ? (keys['tokenizer.ggml.bos_token_id'] ?? null) : null,
    hasSpacePrefix: keys['tokenizer.ggml.add_space_prefix'] ?? true,
  });
}

function unsupportedTokenizer({ fileName }: GgufFile, problem: string, supported: string): AttuneError {
  return unsupportedGguf(
    fileName,
    problem,
    `Attune supports only ${supported}; import the safetensors checkpoint instead`,
  );
}
