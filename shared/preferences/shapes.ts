// The shapes of rows that are understood, each told by its keys, checked by its schema and turned into records. A row
// may hold several preferences (one for each annotator). What is refused says what was wrong and how to mend it.

import { z } from 'zod';
import type { Message, PreferenceRecord } from './record.ts';

/** A row that cannot be taken, with the reason for whoever sent it. */
export class RowError extends Error {}

const ROLES = new Map<string, Message['role']>([
  ['system', 'system'],
  ['developer', 'developer'],
  ['user', 'user'],
  ['human', 'user'],
  ['assistant', 'assistant'],
  ['gpt', 'assistant'],
  ['model', 'assistant'],
  ['tool', 'tool'],
  ['observation', 'tool'],
]);

const role = z.string().transform((name, context) => {
  const known = ROLES.get(name);
  if (!known) context.addIssue(`${JSON.stringify(name)} is no role; use system, user or assistant`);
  return known ?? ('user' as const);
});
const textPart = z.object({ type: z.literal('text', { error: 'only text parts are taken' }), text: z.string() });
const content = z.union([z.string(), z.array(textPart).transform((parts) => parts.map((part) => part.text).join(''))], {
  error: 'give a text, or text parts only',
});
const message = z.object({ role, content });
const messages = z.array(message).min(1, 'give at least one message');
const turn = z
  .object({ from: role, value: z.string() })
  .transform(({ from, value }) => ({ role: from, content: value }));
const identifier = z.union([z.string(), z.number()]).transform(String);

type Shape = {
  name: string;
  /** keys that tell it from the others */
  keys: string[][];
  read(row: unknown): PreferenceRecord[];
};

const record = (
  prompt: string | Message[],
  a: string,
  b: string,
  more: Partial<PreferenceRecord> = {},
): PreferenceRecord => ({ prompt, a, b, choice: 'a', rater: null, externalId: null, metadata: {}, ...more });

/** The last message of a list, which must be the assistant's. */
function answerOf(list: Message[], field: string): string {
  const last = list.at(-1);
  if (!last) throw new RowError(`${field} is empty; give one assistant message`);
  if (last.role !== 'assistant')
    throw new RowError(`${field} ends with a ${last.role} message; it must end with the assistant's`);
  return last.content;
}

const openaiSchema = z.object({
  input: z.object({ messages }),
  preferred_output: z.array(message).optional(),
  non_preferred_output: z.array(message).optional(),
  preferred_completion: z.array(message).optional(),
  non_preferred_completion: z.array(message).optional(),
});

function readOpenai(row: unknown): PreferenceRecord[] {
  const value = openaiSchema.parse(row);
  const preferred = value.preferred_output ?? value.preferred_completion ?? [];
  const other = value.non_preferred_output ?? value.non_preferred_completion ?? [];
  return [
    record(value.input.messages, answerOf(preferred, 'preferred_output'), answerOf(other, 'non_preferred_output')),
  ];
}

const side = z.union([z.string(), z.array(message)], { error: 'give a text or messages' });
const trlSchema = z.object({ prompt: side.optional(), chosen: side, rejected: side });

function readTrl(row: unknown): PreferenceRecord[] {
  const { prompt, chosen, rejected } = trlSchema.parse(row);
  if (typeof chosen === 'string' || typeof rejected === 'string') {
    if (typeof chosen !== typeof rejected)
      throw new RowError('chosen and rejected must both be texts or both be messages');
    if (prompt === undefined)
      throw new RowError('prompt is missing; with chosen and rejected as texts it must be given');
    return [record(prompt, chosen as string, rejected as string)];
  }
  if (prompt !== undefined) return [record(prompt, answerOf(chosen, 'chosen'), answerOf(rejected, 'rejected'))];
  // The prompt is what both conversations begin with; what is left over must be one answer on each side.
  let shared = 0;
  while (shared < Math.min(chosen.length, rejected.length) - 1 && isSame(chosen[shared]!, rejected[shared]!)) shared++;
  if (shared === 0) throw new RowError('prompt is missing, and chosen and rejected begin differently; give the prompt');
  if (chosen.length !== shared + 1 || rejected.length !== shared + 1)
    throw new RowError('chosen and rejected differ in more than their last message; one answer each can be compared');
  return [record(chosen.slice(0, shared), answerOf(chosen, 'chosen'), answerOf(rejected, 'rejected'))];
}

const isSame = (one: Message, other: Message) => one.role === other.role && one.content === other.content;

const openpipeSchema = z.object({ messages, rejected_message: message, split: z.string().optional() });

function readOpenpipe(row: unknown): PreferenceRecord[] {
  const { messages: list, rejected_message, split } = openpipeSchema.parse(row);
  const chosen = answerOf(list, 'messages');
  if (list.length === 1) throw new RowError('messages holds only the answer; put the prompt before it');
  return [record(list.slice(0, -1), chosen, rejected_message.content, { metadata: split ? { split } : {} })];
}

const sharegptSchema = z.object({
  conversations: z.array(turn).min(1, 'give at least one turn'),
  chosen: turn,
  rejected: turn,
});

function readSharegpt(row: unknown): PreferenceRecord[] {
  const { conversations, chosen, rejected } = sharegptSchema.parse(row);
  return [record(conversations, chosen.content, rejected.content)];
}

const arenaSchema = z.object({
  question_id: identifier.optional(),
  id: identifier.optional(),
  model_a: z.string(),
  model_b: z.string(),
  winner: z.enum(['model_a', 'model_b', 'tie', 'tie (bothbad)', 'both_bad'], {
    error: 'winner must be model_a, model_b, tie, tie (bothbad) or both_bad',
  }),
  judge: z.string().optional(),
  conversation_a: messages,
  conversation_b: messages,
});

const WINNERS = { model_a: 'a', model_b: 'b', tie: 'tie', 'tie (bothbad)': 'both_bad', both_bad: 'both_bad' } as const;

function readArena(row: unknown): PreferenceRecord[] {
  const value = arenaSchema.parse(row);
  const a = answerOf(value.conversation_a, 'conversation_a');
  const b = answerOf(value.conversation_b, 'conversation_b');
  const prompt = value.conversation_a.slice(0, -1);
  const other = value.conversation_b.slice(0, -1);
  if (prompt.length === 0) throw new RowError('conversation_a holds only the answer; put the prompt before it');
  if (prompt.length !== other.length || !prompt.every((item, at) => isSame(item, other[at]!)))
    throw new RowError(
      'conversation_a and conversation_b differ before their last message; only their last answers can be compared',
    );
  return [
    record(prompt, a, b, {
      choice: WINNERS[value.winner],
      rater: value.judge ?? null,
      externalId: value.question_id ?? value.id ?? null,
      metadata: { model_a: value.model_a, model_b: value.model_b },
    }),
  ];
}

const instructSchema = z.object({
  instruction: z.string(),
  input: z.string().default(''),
  chosen: z.string(),
  rejected: z.string(),
});

function readInstruct(row: unknown): PreferenceRecord[] {
  const { instruction, input, chosen, rejected } = instructSchema.parse(row);
  return [record(instruct(instruction, input), chosen, rejected)];
}

const instruct = (instruction: string, input: string): Message[] => [
  { role: 'user', content: input.trim() ? `${instruction}\n\n${input}` : instruction },
];

const annotation = z.union([z.literal(0), z.literal(1), z.literal(2)], { error: 'an annotation is 0 (tie), 1 or 2' });
const annotatedSchema = z
  .object({
    idx: identifier.optional(),
    instruction: z.string(),
    input: z.string().default(''),
    response1: z.string(),
    response2: z.string(),
  })
  .catchall(z.unknown());

function readAnnotated(row: unknown): PreferenceRecord[] {
  const value = annotatedSchema.parse(row);
  const annotators = Object.keys(value).filter((key) => /^annotator\d+$/.test(key));
  if (annotators.length === 0) throw new RowError('there is no annotator1; somebody must have chosen');
  return annotators.map((rater) =>
    record(instruct(value.instruction, value.input), value.response1, value.response2, {
      choice: (['tie', 'a', 'b'] as const)[annotation.parse(value[rater])],
      rater,
      externalId: value.idx ?? null,
    }),
  );
}

const SHAPES: Shape[] = [
  {
    name: 'openai',
    keys: [
      ['input', 'preferred_output'],
      ['input', 'preferred_completion'],
      ['input', 'non_preferred_output'],
    ],
    read: readOpenai,
  },
  { name: 'arena', keys: [['conversation_a', 'conversation_b']], read: readArena },
  { name: 'sharegpt', keys: [['conversations', 'chosen', 'rejected']], read: readSharegpt },
  { name: 'openpipe', keys: [['messages', 'rejected_message']], read: readOpenpipe },
  { name: 'annotated', keys: [['instruction', 'response1', 'response2']], read: readAnnotated },
  { name: 'instruct', keys: [['instruction', 'chosen', 'rejected']], read: readInstruct },
  { name: 'trl', keys: [['chosen', 'rejected']], read: readTrl },
];

/** The preferences of one row. Throws RowError with the shape's name and the reason. */
export function readShape(row: unknown): PreferenceRecord[] {
  if (row === null || typeof row !== 'object' || Array.isArray(row)) throw new RowError('it is no JSON object');
  const shape = SHAPES.find(({ keys }) => keys.some((set) => set.every((key) => key in row)));
  if (!shape) {
    const understood = SHAPES.map(({ name, keys }) => `${name} (${keys[0]!.join(', ')})`).join('; ');
    throw new RowError(
      `its shape is not known: it has ${Object.keys(row).join(', ') || 'no keys'}; understood are ${understood}`,
    );
  }
  try {
    const records = shape.read(row);
    for (const item of records) checkRecord(item);
    return records;
  } catch (error) {
    if (error instanceof RowError) throw new RowError(`${shape.name}: ${error.message}`);
    if (!(error instanceof z.ZodError)) throw error;
    const issue = error.issues[0]!;
    throw new RowError(`${shape.name}: ${issue.path.join('.')}${issue.path.length ? ': ' : ''}${issue.message}`);
  }
}

function checkRecord({ prompt, a, b, choice }: PreferenceRecord): void {
  const chosen = choice === 'b' ? b : a;
  if (chosen === '') throw new RowError('chosen is empty; give it some text');
  if ((choice === 'b' ? a : b) === '') throw new RowError('rejected is empty; give it some text');
  if (a === b) throw new RowError('chosen and rejected are the same; a preference needs two different answers');
  if (prompt.length === 0) throw new RowError('prompt is empty; give it some text');
  if (JSON.stringify([prompt, a, b]).includes('\\u0000'))
    throw new RowError('it holds a NUL character, which cannot be stored');
}
