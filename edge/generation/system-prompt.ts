// The length of the prefix that a chat's prompt probably shares with other chats: the tokens of its leading system
// messages, which an application sends with every request. The engine's prefix cache keeps their keys and values.

import { LRUCache } from 'lru-cache';
import type { ChatMessage } from '../../shared/chat-message.ts';
import type { LoadedPolicy } from '../engine/inference.ts';

/** Token ids of recent system messages, so that repeated ones are rendered and tokenized once. */
const encoded = new LRUCache<string, number[]>({ max: 64 });

/** Counts the prompt's tokens that its leading system messages account for; 0 if the template rejects them alone. */
export function countSystemTokens(policy: LoadedPolicy, messages: ChatMessage[], promptIds: number[]): number {
  const end = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer');
  const system = end < 0 ? messages : messages.slice(0, end);
  if (system.length === 0) return 0;
  const ids = encodeSystem(policy, system);
  // Tokens may merge across the boundary; and the prompt's last token is always computed, for the logits after it.
  let shared = 0;
  while (shared < promptIds.length - 1 && ids[shared] === promptIds[shared]) shared++;
  return shared;
}

function encodeSystem({ id, tokenizer }: LoadedPolicy, system: ChatMessage[]): number[] {
  const key = `${id} ${JSON.stringify(system)}`;
  const cached = encoded.get(key);
  if (cached) return cached;
  const ids = tryEncode(tokenizer, system);
  encoded.set(key, ids);
  return ids;
}

function tryEncode(tokenizer: LoadedPolicy['tokenizer'], system: ChatMessage[]): number[] {
  try {
    return tokenizer.encode(tokenizer.renderChat(system));
  } catch {
    // Many templates require a user message.
    return [];
  }
}
