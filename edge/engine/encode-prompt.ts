// From a prompt to tokens: a chat is rendered with the policy's template, then the text is tokenized. Also counts the
// tokens of the prefix that a chat probably shares with others: its leading system messages, which an application sends
// with every request, and whose keys and values the prefix cache keeps. No imports from Node, because the Worker uses it.
import { LRUCache } from 'lru-cache';
import type { ChatMessage, Prompt } from '../../shared/chat-message.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { EncodedPrompt } from './inference.ts';
import { contextExceeded, getPromptField, type PromptField } from './validate-prompt.ts';

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
  const isText = typeof prompt === 'string';
  const text = isText ? prompt : tokenizer.renderChat(prompt, { addGenerationPrompt: true });
  const system = isText ? '' : renderSystem(tokenizer, prompt);
  onRendered();
  const promptIds = encodeText(tokenizer, text, contextLength, getPromptField(prompt));
  return { promptIds, sharedLength: system === '' ? 0 : countShared(encodeSystem(tokenizer, system), promptIds) };
}

function encodeText(tokenizer: Tokenizer, text: string, contextLength: number, field: PromptField): number[] {
  const start = text.slice(0, contextLength * CHARACTERS_PER_TOKEN);
  if (start.length < text.length && tokenizer.encode(start).length >= contextLength + MERGE_MARGIN)
    throw contextExceeded(field, `more than ${contextLength}`, contextLength);
  return tokenizer.encode(text);
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
function countShared(systemIds: number[], promptIds: number[]): number {
  let shared = 0;
  while (shared < promptIds.length - 1 && systemIds[shared] === promptIds[shared]) shared++;
  return shared;
}
