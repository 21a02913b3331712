// Which policy of a canary a request gets: a hash of the canary and of whoever asks, so that it is the same in every process,
// and for all requests of one user or, where none is named, of one conversation. Another canary shuffles anew.

import { hashList } from '../../shared/digest.ts';

export type Arm = 'candidate' | 'baseline';

/** A request's fields that say who asks and about what, as the client sent them or as they were parsed. */
export type AssignedBody = { user?: unknown; messages?: unknown; prompt?: unknown };

/** `tenant`: its users are its own; `key`: the id of the caller. */
export type AssignedCaller = { tenant: string; key: string };

export function assign(canary: { id: string; share: number }, caller: AssignedCaller, body: AssignedBody): Arm {
  return toUniform([canary.id, ...toSubject(caller, body)]) < canary.share ? 'candidate' : 'baseline';
}

/**
 * A user keeps its policy in all its conversations. A conversation is its first message: a key alone, which may have all the
 * traffic, would be all or nothing.
 */
function toSubject({ tenant, key }: AssignedCaller, { user, messages, prompt }: AssignedBody): string[] {
  if (typeof user === 'string' && user !== '') return ['user', tenant, user];
  return ['conversation', key, messages === undefined ? toText(prompt) : findFirstMessage(messages)];
}

/** Of the user: a system message is the same in all conversations. */
function findFirstMessage(messages: unknown): string {
  if (!Array.isArray(messages)) return '';
  const list = messages as ({ role?: unknown; content?: unknown } | null)[];
  return toText((list.find((message) => message?.role === 'user') ?? list[0])?.content);
}

/** Several texts, the parts of one text, or token ids: one request has one policy, however many prompts it has. */
function toText(content: unknown): string {
  if (!Array.isArray(content)) return String(content);
  const isParts = content.some((part) => typeof part === 'object');
  if (isParts) return content.map((part: { text?: unknown } | null) => String(part?.text)).join('');
  return hashList(content.map(String));
}

/** In [0, 1), from the first 52 bits of the digest. */
function toUniform(texts: string[]): number {
  return Number.parseInt(hashList(texts).slice(0, 13), 16) / 2 ** 52;
}
