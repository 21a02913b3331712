// From a prompt to tokens: a chat is rendered with the policy's template, then the text is tokenized, alone or with a given
// response. Also counts the tokens of the prefix that a chat probably shares with others: its leading system messages,
// which an application sends with every request, and whose keys and values the prefix cache keeps. No imports from Node,
// because the Worker uses it.
import { LRUCache } from 'lru-cache';
import type { ChatMessage, Prompt } from '../../shared/chat-message.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { EncodedPair, EncodedPrompt, ResponseText } from './inference.ts';
import { contextExceeded, getPromptField, pairExceedsContext } from './validate-prompt.ts';

/**
 * Of a longer text the first part is tokenized alone: if it fills the context, the rest need not be. Plain text has four
 * to five characters per token, so nearly every text of this length is too long.
 */
const CHARACTERS_PER_TOKEN = 8;
/** Tokens that the rest of a text can take away from the first part, by merging with its last ones. */
const MERGE_MARGIN = 32;

/** Throws `context_length_exceeded` if it can tell from a part of the prompt. `onRendered` is called before tokenizing. */
export function encodePrompt(
  tokenizer: Tokenizer,
  prompt: Prompt,
  contextLength: number,
  onRendered: () => void = () => {},
): EncodedPrompt {
  const { text, system } = render(tokenizer, prompt);
  onRendered();
  if (exceedsContext(tokenizer, text, contextLength))
    throw contextExceeded(getPromptField(prompt), `more than ${contextLength}`, contextLength);
  const promptIds = tokenizer.encode(text);
  return { promptIds, sharedLength: countShared(tokenizer, system, promptIds) };
}

/** As encodePrompt, for a prompt and a response to it: the tokens that the trainer reads if the pair is imported. */
export function encodePair(
  tokenizer: Tokenizer,
  prompt: Prompt,
  response: ResponseText,
  contextLength: number,
  onRendered: () => void = () => {},
): EncodedPair {
  const { text, system } = render(tokenizer, prompt);
  onRendered();
  if (exceedsContext(tokenizer, text + response.text, contextLength))
    throw pairExceedsContext(`more than ${contextLength}`, contextLength);
  const { promptIds, responseIds } = tokenizer.encodePair(text, response.text, response);
  return { promptIds, responseIds, sharedLength: countShared(tokenizer, system, promptIds) };
}

/** The text that is tokenized, and the part of it that the system messages are. */
function render(tokenizer: Tokenizer, prompt: Prompt): { text: string; system: string } {
  if (typeof prompt === 'string') return { text: prompt, system: '' };
  return { text: tokenizer.renderChat(prompt, { addGenerationPrompt: true }), system: renderSystem(tokenizer, prompt) };
}

function exceedsContext(tokenizer: Tokenizer, text: string, contextLength: number): boolean {
  const start = text.slice(0, contextLength * CHARACTERS_PER_TOKEN);
  return start.length < text.length && tokenizer.encode(start).length >= contextLength + MERGE_MARGIN;
}

/** '' without system messages, and if the template rejects them alone: many require a user message. */
function renderSystem(tokenizer: Tokenizer, messages: ChatMessage[]): string {
  const end = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer');
  const system = end < 0 ? messages : messages.slice(0, end);
  if (system.length === 0) return '';
  try {
    return tokenizer.renderChat(system);
  } catch {
    return '';
  }
}

/** Characters of system messages whose tokens are kept, for each tokenizer. */
const MAX_CACHED_CHARACTERS = 2 ** 20;
const systemCaches = new WeakMap<Tokenizer, LRUCache<string, number[]>>();

/** Repeated system messages are tokenized once. */
function encodeSystem(tokenizer: Tokenizer, text: string): number[] {
  const cache = systemCaches.get(tokenizer) ?? new LRUCache({ maxSize: MAX_CACHED_CHARACTERS, sizeCalculation });
  systemCaches.set(tokenizer, cache);
  const ids = cache.get(text) ?? tokenizer.encode(text);
  cache.set(text, ids);
  return ids;
}

function sizeCalculation(_: number[], text: string): number {
  return text.length;
}

/** Tokens may merge across the boundary; and the prompt's last token is always computed, for the logits after it. */
function countShared(tokenizer: Tokenizer, system: string, promptIds: number[]): number {
  if (system === '') return 0;
  const systemIds = encodeSystem(tokenizer, system);
  let shared = 0;
  while (shared < promptIds.length - 1 && systemIds[shared] === promptIds[shared]) shared++;
  return shared;
}
