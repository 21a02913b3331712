// The bytes that each token adds to a text, from the parts of tokenizer.json that decode it: byte-level BPE writes a byte as
// a character, SentencePiece a space as ▁ and a byte without a piece as <0x0A>.
import { AttuneError } from '../error.ts';
import { formatByteToken } from './bpe.ts';

type Decoder = {
  type?: unknown;
  pattern?: { String?: unknown };
  content?: unknown;
  replacement?: unknown;
  decoders?: Decoder[];
};

const encoder = new TextEncoder();

/** How tokens are decoded: added ones are texts, in byte-level vocabularies too. */
export type TokenDecoding = {
  isByteLevel: boolean;
  replacements: [from: string, to: string][];
  hasByteTokens: boolean;
};

/** Throws an AttuneError if the tokens' bytes cannot be told from the decoder. */
export function readTokenDecoding(decoder: unknown): TokenDecoding {
  const decoding: TokenDecoding = { isByteLevel: false, replacements: [], hasByteTokens: false };
  for (const step of listSteps(decoder as Decoder | null)) {
    if (step.type === 'ByteLevel') decoding.isByteLevel = true;
    else if (step.type === 'ByteFallback') decoding.hasByteTokens = true;
    else if (step.type === 'Metaspace') decoding.replacements.push([String(step.replacement ?? '\u2581'), ' ']);
    else if (step.type === 'Replace' && typeof step.pattern?.String === 'string')
      decoding.replacements.push([step.pattern.String, String(step.content ?? '')]);
    // They join tokens, or change the first one of a text only.
    else if (step.type !== 'Fuse' && step.type !== 'Strip')
      throw new AttuneError(
        `response_format: the policy's tokenizer has a decoder of type ${String(step.type)}, with which it is not supported`,
        { param: 'response_format', code: 'unsupported_tokenizer' },
      );
  }
  return decoding;
}

/** One character for each byte. `isAdded`: the token is one of added_tokens. */
export function toTokenBytes(token: string, isAdded: boolean, decoding: TokenDecoding): string {
  if (decoding.isByteLevel && !isAdded) {
    let bytes = '';
    for (const character of token) bytes += BYTES_OF_CHARACTERS.get(character) ?? '';
    return bytes;
  }
  if (decoding.hasByteTokens && BYTE_TOKENS.has(token)) return BYTE_TOKENS.get(token)!;
  const text = decoding.isByteLevel
    ? token
    : decoding.replacements.reduce((t, [from, to]) => t.replaceAll(from, to), token);
  return String.fromCharCode(...encoder.encode(text));
}

function listSteps(decoder: Decoder | null): Decoder[] {
  if (!decoder) return [];
  return decoder.type === 'Sequence' ? (decoder.decoders ?? []).flatMap(listSteps) : [decoder];
}

const BYTE_TOKENS = new Map(
  Array.from({ length: 256 }, (_, byte) => [formatByteToken(byte), String.fromCharCode(byte)] as const),
);

/** GPT-2's alphabet: printable Latin-1 characters are themselves, the other bytes take characters from U+0100 on. */
const BYTES_OF_CHARACTERS = new Map<string, string>();
for (let byte = 0, other = 0x100; byte < 256; byte++) {
  const isPrintable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  BYTES_OF_CHARACTERS.set(String.fromCharCode(isPrintable ? byte : other++), String.fromCharCode(byte));
}
