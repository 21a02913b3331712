// Encodes text to token ids and decodes it, with Hugging Face's tokenizer.json. Trainer and edge share it, so that a
// preference is scored on the tokens that were served. It never cleans up text: decoded text must encode to the same ids.
import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import type { ChatMessage } from '../chat-message.ts';
import { AttuneError, getErrorMessage } from '../error.ts';
import { TOKENIZER_FILES } from '../model/checkpoint-files.ts';
import { compileTemplate, PLAIN_TEMPLATE, type RenderChat, selectTemplate } from './chat-template.ts';
import { readTokenDecoding, toTokenBytes } from './token-bytes.ts';

/** The contents of a tokenizer's files; only tokenizer.json is required. */
export type TokenizerFiles = Partial<Record<keyof typeof TOKENIZER_FILES, string>> & { tokenizer: string };

const tokenSchema = z
  .union([z.string(), z.object({ content: z.string() })])
  .nullish()
  .transform((token) => (typeof token === 'object' ? (token?.content ?? null) : (token ?? null)));
const tokenizerConfigSchema = z.looseObject({ bos_token: tokenSchema, eos_token: tokenSchema });
const idSchema = z.int().nonnegative();
const idsSchema = z.looseObject({
  bos_token_id: z.union([idSchema, z.array(idSchema)]).nullish(),
  eos_token_id: z.union([idSchema, z.array(idSchema)]).nullish(),
});

export class Tokenizer {
  readonly bos: number | null;
  /** Every token that ends a completion; training appends the first one. */
  readonly eos: number[];
  /** SHA-256 of tokenizer.json and the chat template: equal hashes mean the same token ids. */
  readonly hash: string;
  /** The largest token id plus one; a policy's embedding has at least as many rows. */
  readonly size: number;
  /** Characters of the longest token. */
  readonly longestToken: number;
  readonly #inner: HubTokenizer;
  readonly #special: Set<number>;
  /** The tokens that the tokenizer adds before a text: BOS, or none. */
  readonly #prefix: number[];
  /** The tokens of a short text: a token decoded after them is decoded as a continuation. */
  readonly #anchor: number[];
  /** Of decodeToken, which log-probabilities ask for several times a token; at most one for each token. */
  readonly #texts = new Map<number, string>();
  readonly #render: RenderChat;
  readonly #decoder: unknown;
  #tokenBytes: (string | null)[] | null = null;

  static async open(folder: string): Promise<Tokenizer> {
    const [{ readFile }, { join }] = await Promise.all([import('node:fs/promises'), import('node:path')]);
    const read = (name: string) =>
      readFile(join(folder, name), 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        return undefined;
      });
    const texts = await Promise.all(
      Object.entries(TOKENIZER_FILES).map(async ([key, name]) => [key, await read(name)] as const),
    );
    const files = Object.fromEntries(texts) as Partial<TokenizerFiles>;
    if (files.tokenizer === undefined) {
      throw invalidFile('tokenizer.json', 'it is missing; slow tokenizers (tokenizer.model) must be converted first');
    }
    return Tokenizer.from(files as TokenizerFiles);
  }

  /** Without a file system, for Workers. */
  static async from(files: TokenizerFiles): Promise<Tokenizer> {
    const template = files.chatTemplate ?? selectTemplate(parseFile(files, 'tokenizerConfig'));
    const bytes = new TextEncoder().encode(files.tokenizer + (template ?? ''));
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
    return new Tokenizer(files, template, hash);
  }

  private constructor(files: TokenizerFiles, template: string | null, hash: string) {
    this.hash = hash;
    const tokenizerConfig = validateFile(tokenizerConfigSchema, files, 'tokenizerConfig');
    const tokenizer = parseFile(files, 'tokenizer');
    validateDecoder(tokenizer.decoder);
    this.#decoder = tokenizer.decoder;
    try {
      this.#inner = new HubTokenizer(tokenizer, tokenizerConfig);
    } catch (error) {
      throw invalidFile('tokenizer.json', `${getErrorMessage(error)}; export the tokenizer again`);
    }
    let largest = -1;
    let longest = 0;
    for (const [token, tokenId] of this.#inner.get_vocab()) {
      largest = Math.max(largest, tokenId);
      longest = Math.max(longest, token?.length ?? 0);
    }
    this.size = largest + 1;
    this.longestToken = longest;
    const added = [...this.#inner.get_added_tokens_decoder()];
    this.#special = new Set(added.filter(([, token]) => token.special).map(([tokenId]) => tokenId));

    const getTokenId = (token: string | null) => (token === null ? undefined : this.#inner.token_to_id(token));
    const config = validateFile(idsSchema, files, 'config');
    const generation = validateFile(idsSchema, files, 'generationConfig');
    this.bos = getTokenId(tokenizerConfig.bos_token) ?? [config.bos_token_id ?? []].flat()[0] ?? null;
    // A chat model often ends a turn with another token than a document; tokenizer_config.json has the one for turns.
    const turnEnd = getTokenId(tokenizerConfig.eos_token) ?? [];
    this.eos = [...new Set([turnEnd, generation.eos_token_id ?? config.eos_token_id ?? []].flat())];
    for (const tokenId of [...this.eos, this.bos ?? []].flat()) this.#special.add(tokenId);

    const plain = this.#inner.encode('a', { add_special_tokens: false }).ids;
    this.#anchor = plain;
    const withSpecial = this.#inner.encode('a').ids;
    this.#prefix = withSpecial.slice(0, Math.max(0, withSpecial.indexOf(plain[0] ?? -1)));
    const getTokenName = (tokenId: number | null | undefined) =>
      tokenId === null || tokenId === undefined ? null : (this.#inner.id_to_token(tokenId) ?? null);
    this.#render = compileTemplate(template ?? PLAIN_TEMPLATE, {
      bos: tokenizerConfig.bos_token ?? getTokenName(this.bos),
      eos: tokenizerConfig.eos_token ?? getTokenName(this.eos[0]),
    });
  }

  /**
   * Adds the tokenizer's prefix, usually BOS, unless `special` is false or the text already starts with it, as rendered
   * chat templates do. Never adds a trailing EOS, because prompts are continued.
   */
  encode(text: string, { special = true }: { special?: boolean } = {}): number[] {
    const ids = text === '' ? [] : this.#inner.encode(text, { add_special_tokens: false }).ids;
    const hasPrefix = this.#prefix.every((tokenId, i) => ids[i] === tokenId);
    return special && !hasPrefix ? [...this.#prefix, ...ids] : ids;
  }

  /**
   * Tokenizes prompt and response as one text and splits it where the tokens of the prompt alone end. A token across the
   * boundary belongs to the response. With `eos` the response ends with the EOS token.
   */
  encodePair(prompt: string, response: string, { eos }: { eos: boolean }) {
    const promptAlone = this.encode(prompt);
    const all = this.encode(prompt + response);
    let boundary = 0;
    while (boundary < promptAlone.length && promptAlone[boundary] === all[boundary]) boundary++;
    const responseIds = all.slice(boundary);
    if (eos) {
      if (this.eos[0] === undefined) {
        throw invalidFile(
          'generation_config.json',
          'eos_token_id is missing; set it to the token that ends a completion',
        );
      }
      responseIds.push(this.eos[0]);
    }
    return { promptIds: all.slice(0, boundary), responseIds };
  }

  /** Skips special tokens unless `special` is true. Ids outside the vocabulary (padding rows) have no text. */
  decode(ids: number[], { special = false }: { special?: boolean } = {}): string {
    const known = ids.filter(
      (tokenId) => (special || !this.#special.has(tokenId)) && this.#inner.id_to_token(tokenId) !== undefined,
    );
    return known.length === 0 ? '' : this.#inner.decode(known, { clean_up_tokenization_spaces: false });
  }

  /** The text that `ids` add to the prompt, including a leading space that decoding them alone would drop. */
  decodeContinuation(promptIds: number[], ids: number[]): string {
    return removeCommonPrefix(this.decode(promptIds), this.decode([...promptIds, ...ids]));
  }

  isSpecial(tokenId: number): boolean {
    return this.#special.has(tokenId);
  }

  /** The text of one token inside a text, with its leading space; a special token's name; '' for padding rows. */
  decodeToken(tokenId: number): string {
    const known = this.#texts.get(tokenId);
    if (known !== undefined) return known;
    const text = this.#special.has(tokenId)
      ? (this.#inner.id_to_token(tokenId) ?? '')
      : this.decodeContinuation(this.#anchor, [tokenId]);
    this.#texts.set(tokenId, text);
    return text;
  }

  /** The bytes of each token, one character each; null for special tokens and ids without a token. */
  listTokenBytes(): readonly (string | null)[] {
    this.#tokenBytes ??= this.#computeTokenBytes();
    return this.#tokenBytes;
  }

  #computeTokenBytes(): (string | null)[] {
    const decoding = readTokenDecoding(this.#decoder);
    const added = this.#inner.get_added_tokens_decoder();
    const bytes = new Array<string | null>(this.size).fill(null);
    for (const [token, tokenId] of this.#inner.get_vocab())
      if (!this.#special.has(tokenId)) bytes[tokenId] = toTokenBytes(token, added.has(tokenId), decoding) || null;
    return bytes;
  }

  renderChat(messages: ChatMessage[], options: { addGenerationPrompt?: boolean } = {}): string {
    return this.#render(messages, options);
  }
}

/** Returns the part of `text` after its common prefix with `before`. */
export function removeCommonPrefix(before: string, text: string): string {
  if (text.startsWith(before)) return text.slice(before.length);
  let at = 0;
  while (at < before.length && before[at] === text[at]) at++;
  return text.slice(at);
}

/**
 * Decoding runs for every token on the thread that serves, so nothing of a checkpoint may run there without end, as a
 * regular expression can. Decoders of published checkpoints have none.
 */
function validateDecoder(decoder: unknown): void {
  if (JSON.stringify(decoder ?? null).includes('"Regex":'))
    throw invalidFile('tokenizer.json', 'decoder: it has a regular expression, which is not supported; give a String');
}

function parseFile(files: TokenizerFiles, key: keyof TokenizerFiles): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(files[key] ?? '{}');
  } catch {
    value = null;
  }
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw invalidFile(TOKENIZER_FILES[key], 'it is not a JSON object; download or export the checkpoint again');
}

function validateFile<T>(schema: z.ZodType<T>, files: TokenizerFiles, key: keyof TokenizerFiles): T {
  const parsed = schema.safeParse(parseFile(files, key));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw invalidFile(TOKENIZER_FILES[key], `${issue.path.join('.')}: ${issue.message}; export the checkpoint again`);
}

function invalidFile(where: string, problem: string): AttuneError {
  return new AttuneError(`${where}: ${problem}`, { code: 'invalid_checkpoint' });
}
