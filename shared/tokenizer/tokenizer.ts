// Text to token ids and back, over Hugging Face's tokenizer.json. Trainer and edge share it, so that a preference is
// scored on the very tokens that were served. Nothing here cleans text up: what decodes must encode to itself again.
import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import type { ChatMessage } from '../chat-message.ts';
import { AttuneError } from '../error.ts';
import { TOKENIZER_FILES } from '../model/checkpoint-files.ts';
import { compileTemplate, PLAIN_TEMPLATE, type RenderChat, selectTemplate } from './chat-template.ts';

/** The files a tokenizer is made of, as texts; only tokenizer.json must exist. */
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
  /** Every token that ends a response; the first is the one that training appends. */
  readonly eos: number[];
  /** SHA-256 of tokenizer.json and the chat template: policies with equal hashes understand each other's token ids. */
  readonly hash: string;
  /** One more than the largest id that a text can have; a policy's table must have as many rows at least. */
  readonly size: number;
  readonly #inner: HubTokenizer;
  readonly #special: Set<number>;
  /** What the tokenizer itself puts before a text: BOS, or nothing. */
  readonly #prefix: number[];
  /** A text's beginning, any text's: what follows it decodes as a continuation. */
  readonly #anchor: number[];
  readonly #render: RenderChat;

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

  /** For runtimes without a file system. */
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
    try {
      this.#inner = new HubTokenizer(parseFile(files, 'tokenizer'), tokenizerConfig);
    } catch (error) {
      throw invalidFile(
        'tokenizer.json',
        `${error instanceof Error ? error.message : error}; export the tokenizer again`,
      );
    }
    let largest = -1;
    for (const tokenId of this.#inner.get_vocab().values()) largest = Math.max(largest, tokenId);
    this.size = largest + 1;
    const added = [...this.#inner.get_added_tokens_decoder()];
    this.#special = new Set(added.filter(([, token]) => token.special).map(([tokenId]) => tokenId));

    const find = (token: string | null) => (token === null ? undefined : this.#inner.token_to_id(token));
    const config = validateFile(idsSchema, files, 'config');
    const generation = validateFile(idsSchema, files, 'generationConfig');
    this.bos = find(tokenizerConfig.bos_token) ?? [config.bos_token_id ?? []].flat()[0] ?? null;
    // A chat model often ends a turn with another token than a document; tokenizer_config names the one for turns.
    const own = find(tokenizerConfig.eos_token) ?? [];
    this.eos = [...new Set([own, generation.eos_token_id ?? config.eos_token_id ?? []].flat())];
    for (const tokenId of [...this.eos, this.bos ?? []].flat()) this.#special.add(tokenId);

    const plain = this.#inner.encode('a', { add_special_tokens: false }).ids;
    this.#anchor = plain;
    const framed = this.#inner.encode('a').ids;
    this.#prefix = framed.slice(0, Math.max(0, framed.indexOf(plain[0] ?? -1)));
    const textOf = (tokenId: number | null | undefined) =>
      tokenId === null || tokenId === undefined ? null : (this.#inner.id_to_token(tokenId) ?? null);
    this.#render = compileTemplate(template ?? PLAIN_TEMPLATE, {
      bos: tokenizerConfig.bos_token ?? textOf(this.bos),
      eos: tokenizerConfig.eos_token ?? textOf(this.eos[0]),
    });
  }

  /**
   * Puts BOS (whatever the tokenizer puts in front) before the text once, unless `special` is false. A text that a
   * chat template already began with BOS gets no second one. A trailing EOS is never added: prompts are to be continued.
   */
  encode(text: string, { special = true }: { special?: boolean } = {}): number[] {
    const ids = text === '' ? [] : this.#inner.encode(text, { add_special_tokens: false }).ids;
    const begun = this.#prefix.every((tokenId, i) => ids[i] === tokenId);
    return special && !begun ? [...this.#prefix, ...ids] : ids;
  }

  /**
   * Tokenizes prompt and response together, as one text, and cuts where the tokens of the prompt alone end. Where a
   * token spans the border it belongs to the response. With `eos` the response ends in the end token.
   */
  encodePair(prompt: string, response: string, { eos }: { eos: boolean }) {
    const alone = this.encode(prompt);
    const whole = this.encode(prompt + response);
    let border = 0;
    while (border < alone.length && alone[border] === whole[border]) border++;
    const responseIds = whole.slice(border);
    if (eos) {
      if (this.eos[0] === undefined) {
        throw invalidFile('generation_config.json', 'eos_token_id is missing; name the token that ends a response');
      }
      responseIds.push(this.eos[0]);
    }
    return { promptIds: whole.slice(0, border), responseIds };
  }

  /** Leaves special tokens out unless `special` is true. Ids beyond the vocabulary (padding rows) have no text. */
  decode(ids: number[], { special = false }: { special?: boolean } = {}): string {
    const known = ids.filter(
      (tokenId) => (special || !this.#special.has(tokenId)) && this.#inner.id_to_token(tokenId) !== undefined,
    );
    return known.length === 0 ? '' : this.#inner.decode(known, { clean_up_tokenization_spaces: false });
  }

  /** The text that `ids` add to the prompt: a decoder may drop a leading space that a continuation must keep. */
  decodeContinuation(promptIds: number[], ids: number[]): string {
    return removeCommonPrefix(this.decode(promptIds), this.decode([...promptIds, ...ids]));
  }

  isSpecial(tokenId: number): boolean {
    return this.#special.has(tokenId);
  }

  /** One token as it reads inside a text, with its leading space; special tokens by name, padding rows as ''. */
  textOf(tokenId: number): string {
    if (this.#special.has(tokenId)) return this.#inner.id_to_token(tokenId) ?? '';
    return this.decodeContinuation(this.#anchor, [tokenId]);
  }

  renderChat(messages: ChatMessage[], options: { addGenerationPrompt?: boolean } = {}): string {
    return this.#render(messages, options);
  }
}

/** What `text` has after its common beginning with `before`. */
export function removeCommonPrefix(before: string, text: string): string {
  if (text.startsWith(before)) return text.slice(before.length);
  let at = 0;
  while (at < before.length && before[at] === text[at]) at++;
  return text.slice(at);
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
