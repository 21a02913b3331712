// How much of a chat's prompt other chats probably share: the tokens of its leading system messages, which an
// application sends with every request. The engine keeps their keys and values; here they are only counted.

import type { ChatMessage } from '../../shared/tokenizer/chat-template.ts';
import type { LoadedPolicy } from '../engine/inference.ts';

/** The tokens of system messages seen lately, so that the same ones are rendered and tokenized once. */
const seen = new Map<string, number[]>();
const MOST = 64;

/** How many of the prompt's tokens are those of its leading system messages; 0 where a template has none alone. */
export function countSystemTokens(policy: LoadedPolicy, messages: ChatMessage[], promptIds: number[]): number {
  const end = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer');
  const system = end < 0 ? messages : messages.slice(0, end);
  if (system.length === 0) return 0;
  const ids = encodeSystem(policy, system);
  // The texts may merge where they meet; and the prompt's last token is always computed, for what comes after it.
  let shared = 0;
  while (shared < promptIds.length - 1 && ids[shared] === promptIds[shared]) shared++;
  return shared;
}

function encodeSystem({ id, tokenizer }: LoadedPolicy, system: ChatMessage[]): number[] {
  const key = `${id} ${JSON.stringify(system)}`;
  const known = seen.get(key);
  const ids = known ?? tryEncode(tokenizer, system);
  seen.delete(key);
  seen.set(key, ids);
  if (seen.size > MOST) seen.delete(seen.keys().next().value!);
  return ids;
}

function tryEncode(tokenizer: LoadedPolicy['tokenizer'], system: ChatMessage[]): number[] {
  try {
    return tokenizer.encode(tokenizer.renderChat(system));
  } catch {
    // Many templates insist on a user's message.
    return [];
  }
}
