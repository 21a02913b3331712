// An item as it is imported: a prompt with the responses that are given with it, if any; in gold and calibration items also
// the right choice between them.

import { z } from 'zod';
import type { Prompt } from '../chat-message.ts';
import type { Choice, QueueItemKind } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { conversation, describe, expected } from '../preferences/message-schemas.ts';
import type { QueueSettings } from '../queue-settings.ts';
import { assertStorable } from '../storable.ts';

export type ItemInput = {
  kind: QueueItemKind;
  prompt: Prompt;
  group: string;
  /** a response that a fresh one is compared with */
  given: string | null;
  /** both responses, in the order a, b */
  sides: readonly [string, string] | null;
  expected: Choice | null;
  explanation: string | null;
  /** the completion that it was drawn from */
  drawnFrom: string | null;
};

const EXPECTED = ['a', 'b', 'tie', 'both_bad'] as const;

const response = z.string(expected('the text of a response')).refine((text) => text.trim() !== '', 'is empty');

const rowSchema = z.strictObject({
  messages: conversation.optional(),
  prompt: z.string(expected('text')).optional(),
  group: z.string().max(200).default(''),
  given: response.optional(),
  a: response.optional(),
  b: response.optional(),
  expected: z.enum(EXPECTED, expected(`one of ${EXPECTED.join(', ')}`)).optional(),
  kind: z.enum(['gold', 'calibration'], expected('gold or calibration')).optional(),
  explanation: z.string().max(10_000).optional(),
});

/** Throws AttuneError with the problem and its fix. */
export function parseItem(value: unknown, { pairing }: Pick<QueueSettings, 'pairing'>): ItemInput {
  assertStorable(value);
  const { data: row, error } = rowSchema.safeParse(value);
  if (!row) throw refuse(error.issues[0]!, value);
  const { messages, prompt: text, given = null, a, b, group, expected: right = null, explanation = null } = row;
  if ((messages === undefined) === (text === undefined)) throw new AttuneError('give either messages or prompt');
  const prompt = (messages ?? text)!;
  assertPrompt(prompt);
  if ((a === undefined) !== (b === undefined)) throw new AttuneError('a, b: give both responses, or neither');
  const sides = a !== undefined && b !== undefined ? ([a, b] as const) : null;
  if (sides && a === b) throw new AttuneError('b: equals a; a comparison needs two different responses');
  if (sides && given !== null) throw new AttuneError('given: give either given, or a and b');
  if ((row.kind !== undefined || explanation !== null) && right === null)
    throw new AttuneError('expected: is missing; say which choice is right');
  if (right !== null && !sides)
    throw new AttuneError('a, b: are missing; expected needs two responses to choose between');
  const kind = right === null ? 'rated' : (row.kind ?? 'gold');
  if (kind === 'rated' && !sides && (given !== null) !== (pairing.type === 'given'))
    throw new AttuneError(
      given === null
        ? 'given: is missing; this queue compares it with a fresh response'
        : 'given: this queue does not compare a given response with a fresh one; leave it out, or create a queue with pairing {"type": "given"}',
    );
  return { kind, prompt, group, given, sides, expected: right, explanation, drawnFrom: null };
}

function assertPrompt(prompt: Prompt): void {
  const text = typeof prompt === 'string' ? prompt : prompt.map(({ content }) => content).join('');
  if (text.trim() === '') throw new AttuneError('the prompt is empty; give what the responses reply to');
}

function refuse(issue: z.core.$ZodIssue, value: unknown): AttuneError {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return new AttuneError(`is ${describe(value)}; each row must be an object {messages} or {prompt}`);
  if (issue.code === 'unrecognized_keys') return new AttuneError(`unknown field ${JSON.stringify(issue.keys[0])}`);
  return new AttuneError(`${issue.path.join('.')}: ${issue.message}`);
}
