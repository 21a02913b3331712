// From a prompt to tokens: a chat is rendered with the policy's template, then the text is tokenized, alone or with a given
// response. Also counts the tokens of the prefixes that a chat probably shares with others, whose keys and values the prefix
// cache keeps: its leading system messages, which an application sends with every request, and the prompts of its earlier
// turns. No imports from Node, because the Worker uses it.
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
/** Of a longer chat only the first turns end on boundaries: each is rendered and tokenized once more. */
const MAX_SHARED_TURNS = 16;

/** Throws `context_length_exceeded` if it can tell from a part of the prompt. `onRendered` is called before tokenizing. */
export function encodePrompt(
  tokenizer: Tokenizer,
  prompt: Prompt,
  contextLength: number,
  onRendered: () => void = () => {},
): EncodedPrompt {
  const { text, shared } = render(tokenizer, prompt);
  onRendered();
  if (exceedsContext(tokenizer, text, contextLength))
    throw contextExceeded(getPromptField(prompt), `more than ${contextLength}`, contextLength);
  const promptIds = tokenizer.encode(text);
  return { promptIds, sharedLengths: countShared(tokenizer, shared, promptIds) };
}

/** As encodePrompt, for a prompt and a response to it: the tokens that the trainer reads if the pair is imported. */
export function encodePair(
  tokenizer: Tokenizer,
  prompt: Prompt,
  response: ResponseText,
  contextLength: number,
  onRendered: () => void = () => {},
): EncodedPair {
  const { text, shared } = render(tokenizer, prompt);
  onRendered();
  if (exceedsContext(tokenizer, text + response.text, contextLength))
    throw pairExceedsContext(`more than ${contextLength}`, contextLength);
  const { promptIds, responseIds } = tokenizer.encodePair(text, response.text, response);
  return { promptIds, responseIds, sharedLengths: countShared(tokenizer, shared, promptIds) };
}

/** What a prompt probably shares with others: its system messages, and the prompts of earlier turns. */
type SharedTexts = { system: string; turns: string[] };

/** The text that is tokenized, and its shared parts. */
function render(tokenizer: Tokenizer, prompt: Prompt): { text: string; shared: SharedTexts } {
  if (typeof prompt === 'string') return { text: prompt, shared: { system: '', turns: [] } };
  const text = tokenizer.renderChat(prompt, { addGenerationPrompt: true });
  return { text, shared: { system: renderSystem(tokenizer, prompt), turns: renderTurns(tokenizer, prompt, text) } };
}

function exceedsContext(tokenizer: Tokenizer, text: string, contextLength: number): boolean {
  const start = text.slice(0, contextLength * CHARACTERS_PER_TOKEN);
  return start.length < text.length && tokenizer.encode(start).length >= contextLength + MERGE_MARGIN;
}

/** The prompt that each assistant message answered, as it was rendered then. */
function renderTurns(tokenizer: Tokenizer, messages: ChatMessage[], text: string): string[] {
  const answers = messages.flatMap(({ role }, at) => (role === 'assistant' ? [at] : [])).slice(0, MAX_SHARED_TURNS);
  const turns = answers.map((at) => tryRender(tokenizer, messages.slice(0, at), true));
  // A template may render earlier turns differently, for example without their reasoning.
  return turns.filter((turn) => turn !== '' && text.startsWith(turn));
}

/** '' without system messages, and if the template rejects them alone: many require a user message. */
function renderSystem(tokenizer: Tokenizer, messages: ChatMessage[]): string {
  const end = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer');
  const system = end < 0 ? messages : messages.slice(0, end);
  return system.length === 0 ? '' : tryRender(tokenizer, system, false);
}

function tryRender(tokenizer: Tokenizer, messages: ChatMessage[], addGenerationPrompt: boolean): string {
  try {
    return tokenizer.renderChat(messages, { addGenerationPrompt });
  } catch {
    return '';
  }
}

/** Characters of shared texts whose tokens are kept, for each tokenizer. */
const MAX_CACHED_CHARACTERS = 2 ** 20;
const sharedCaches = new WeakMap<Tokenizer, LRUCache<string, number[]>>();

/** Repeated texts are tokenized once. */
function encodeShared(tokenizer: Tokenizer, text: string): number[] {
  const cache = sharedCaches.get(tokenizer) ?? new LRUCache({ maxSize: MAX_CACHED_CHARACTERS, sizeCalculation });
  sharedCaches.set(tokenizer, cache);
  const ids = cache.get(text) ?? tokenizer.encode(text);
  cache.set(text, ids);
  return ids;
}

function sizeCalculation(_: number[], text: string): number {
  return text.length;
}

/** Ascending. Tokens may merge across a boundary; and the prompt's last token is always computed, for the logits after it. */
function countShared(tokenizer: Tokenizer, { system, turns }: SharedTexts, promptIds: number[]): number[] {
  const count = (text: string) => {
    const ids = encodeShared(tokenizer, text);
    let equal = 0;
    while (equal < promptIds.length - 1 && ids[equal] === promptIds[equal]) equal++;
    return { equal, isWhole: equal === ids.length };
  };
  const systemLength = system === '' ? 0 : count(system).equal;
  // An earlier turn was computed up to its last token, so all of its tokens must be the same.
  const turnLengths = turns.map(count).flatMap(({ equal, isWhole }) => (isWhole ? [equal] : []));
  return [systemLength, ...turnLengths].filter((length) => length > 0);
}
