// The formats of preference files, each recognized by its keys. A row is parsed as a whole or rejected with the reason;
// keys that a format does not define are kept as metadata. Sources: OpenAI's preference fine-tuning, TRL's dataset
// formats, OpenPipe, ShareGPT pairs, Chatbot Arena's votes, alpaca-style instruct pairs, and PandaLM's test set with its
// three annotators.

import { z } from 'zod';
import type { ChatMessage } from '../chat-message.ts';
import { AttuneError } from '../error.ts';
import {
  assistantMessage,
  assistantTurn,
  conversation,
  expected,
  singleAssistantMessage,
  text,
  textOrMessages,
  turns,
} from './message-schemas.ts';
import type { PreferenceRecord } from './record.ts';

export type InputRow = Record<string, unknown>;
export type ParsedPreference = Pick<PreferenceRecord, 'prompt' | 'a' | 'b' | 'choice'> & {
  rater?: string;
  metadata?: InputRow;
};
export type Format = {
  name: string;
  /** the keys, for error messages */
  keys: string;
  matches(row: InputRow): boolean;
  parse(row: InputRow): ParsedPreference[];
  /** keys that `parse` reads; the others become metadata */
  knownKeys: RegExp;
  /** names of the two responses in the row, for error messages */
  responseKeys: [string, string];
};

/** In order of precedence: the keys of a later format can occur in rows of an earlier one. */
export const FORMATS: Format[] = [
  openai('preferred_output', 'non_preferred_output'),
  openai('preferred_completion', 'non_preferred_completion'),
  {
    name: 'arena',
    keys: 'winner, conversation_a, conversation_b',
    matches: (row) => 'conversation_a' in row || 'conversation_b' in row,
    parse: parseArena,
    knownKeys: /^(winner|conversation_a|conversation_b)$/,
    responseKeys: ['conversation_a', 'conversation_b'],
  },
  {
    name: 'openpipe',
    keys: 'messages, rejected_message',
    matches: (row) => 'rejected_message' in row,
    parse: parseOpenPipe,
    knownKeys: /^(messages|rejected_message)$/,
    responseKeys: ['messages[-1]', 'rejected_message'],
  },
  {
    name: 'sharegpt',
    keys: 'conversations, chosen, rejected',
    matches: (row) => 'conversations' in row,
    parse: parseShareGpt,
    knownKeys: /^(conversations|system|chosen|rejected)$/,
    responseKeys: ['chosen', 'rejected'],
  },
  {
    name: 'pandalm',
    keys: 'instruction, input, response1, response2, annotator1…',
    matches: (row) => 'response1' in row || 'response2' in row,
    parse: parsePandaLm,
    knownKeys: /^(instruction|input|response1|response2|annotator\d+)$/,
    responseKeys: ['response1', 'response2'],
  },
  {
    name: 'instruct',
    keys: 'instruction, input, chosen, rejected',
    matches: (row) => 'instruction' in row,
    parse: parseInstruct,
    knownKeys: /^(instruction|input|chosen|rejected)$/,
    responseKeys: ['chosen', 'rejected'],
  },
  {
    name: 'trl',
    keys: 'prompt, chosen, rejected',
    matches: (row) => 'chosen' in row || 'rejected' in row,
    parse: parseTrl,
    knownKeys: /^(prompt|chosen|rejected)$/,
    responseKeys: ['chosen', 'rejected'],
  },
];

const openaiInput = z.object(
  { messages: conversation, tools: z.array(z.unknown(), expected('a list, or leave it out')).nullish() },
  expected('an object with messages'),
);

function openai(chosen: string, rejected: string): Format {
  return {
    name: 'openai',
    keys: `input.messages, ${chosen}, ${rejected}`,
    matches: (row) => chosen in row || rejected in row,
    parse: (row) => {
      const { messages, tools } = parseField(openaiInput, row.input, 'input');
      const [a, b] = [
        parseField(singleAssistantMessage, row[chosen], chosen),
        parseField(singleAssistantMessage, row[rejected], rejected),
      ];
      return [{ prompt: messages, a, b, choice: 'a', metadata: tools?.length ? { tools } : {} }];
    },
    knownKeys: new RegExp(`^(input|${chosen}|${rejected})$`),
    responseKeys: [chosen, rejected],
  };
}

const trl = z.object({ prompt: textOrMessages.nullish(), chosen: textOrMessages, rejected: textOrMessages });

function parseTrl(row: InputRow): ParsedPreference[] {
  const { prompt, chosen, rejected } = parseField(trl, row);
  if (typeof chosen === 'string' && typeof rejected === 'string') {
    if (prompt == null)
      throw new AttuneError('"prompt" is missing; give it, or give "chosen" and "rejected" as whole conversations');
    return [{ prompt, a: chosen, b: rejected, choice: 'a' }];
  }
  if (typeof chosen === 'string' || typeof rejected === 'string')
    throw new AttuneError('"chosen" and "rejected" have different types; give both as text or both as messages');
  if (prompt != null && chosen.length === 1 && rejected.length === 1)
    return [{ prompt, a: getResponse(chosen, 'chosen'), b: getResponse(rejected, 'rejected'), choice: 'a' }];
  const split = splitPrompt(chosen, rejected, ['chosen', 'rejected']);
  const last = split.prompt.at(-1);
  if (prompt != null && (typeof prompt === 'string' ? prompt !== last?.content : !areEqual(prompt, split.prompt)))
    throw new AttuneError(
      '"prompt" differs from the beginning of "chosen" and "rejected"; leave it out or make them agree',
    );
  return [{ ...split, choice: 'a' }];
}

const openPipe = z.object({ messages: conversation, rejected_message: assistantMessage });

function parseOpenPipe(row: InputRow): ParsedPreference[] {
  const { messages, rejected_message } = parseField(openPipe, row);
  if (messages.length < 2)
    throw new AttuneError('"messages" has no prompt; give the conversation with the chosen response last');
  return [{ prompt: messages.slice(0, -1), a: getResponse(messages, 'messages'), b: rejected_message, choice: 'a' }];
}

const shareGpt = z.object({
  conversations: turns,
  system: text.nullish(),
  chosen: assistantTurn,
  rejected: assistantTurn,
});

function parseShareGpt(row: InputRow): ParsedPreference[] {
  const { conversations, system, chosen, rejected } = parseField(shareGpt, row);
  const prompt: ChatMessage[] = system ? [{ role: 'system', content: system }, ...conversations] : conversations;
  return [{ prompt, a: chosen, b: rejected, choice: 'a' }];
}

const WINNERS = { model_a: 'a', model_b: 'b', tie: 'tie', 'tie (bothbad)': 'both_bad', both_bad: 'both_bad' } as const;
const winners = ['model_a', 'model_b', 'tie', 'tie (bothbad)', 'both_bad'] as const;
const arena = z.object({
  winner: z.enum(winners, expected(`one of ${winners.join(', ')}`)),
  conversation_a: conversation,
  conversation_b: conversation,
});

function parseArena(row: InputRow): ParsedPreference[] {
  const { winner, conversation_a, conversation_b } = parseField(arena, row);
  const split = splitPrompt(conversation_a, conversation_b, ['conversation_a', 'conversation_b']);
  return [{ ...split, choice: WINNERS[winner] }];
}

const instruct = z.object({ instruction: text, input: text.nullish(), chosen: text, rejected: text });

function parseInstruct(row: InputRow): ParsedPreference[] {
  const { instruction, input, chosen, rejected } = parseField(instruct, row);
  return [{ prompt: toInstructionPrompt(instruction, input), a: chosen, b: rejected, choice: 'a' }];
}

const pandaLm = z.object({ instruction: text, input: text.nullish(), response1: text, response2: text });
/** Each makes a preference with a copy of the row's texts. */
const MAX_ANNOTATORS = 100;
const VOTES = ['tie', 'a', 'b'] as const;
const vote = z.literal([0, 1, 2], expected('0 for a tie, 1 or 2'));

function parsePandaLm(row: InputRow): ParsedPreference[] {
  const { instruction, input, response1, response2 } = parseField(pandaLm, row);
  const annotators = Object.keys(row).filter((key) => /^annotator\d+$/.test(key));
  if (annotators.length > MAX_ANNOTATORS)
    throw new AttuneError(`has ${annotators.length} annotators; give at most ${MAX_ANNOTATORS}, or split the row`);
  if (annotators.length === 0) throw new AttuneError('"annotator1" is missing; give 0 for a tie, 1 or 2');
  return annotators.map((rater) => {
    const choice = VOTES[parseField(vote, row[rater], rater)];
    return { prompt: toInstructionPrompt(instruction, input), a: response1, b: response2, choice, rater };
  });
}

/** An instruction becomes a user message, so that the chat template applies. */
function toInstructionPrompt(instruction: string, input: string | null | undefined): ChatMessage[] {
  return [{ role: 'user', content: input?.trim() ? `${instruction}\n\n${input}` : instruction }];
}

/** Two whole conversations → their common prompt and the last message of each. */
function splitPrompt(a: ChatMessage[], b: ChatMessage[], sides: [string, string]) {
  const prompt = a.slice(0, -1);
  if (!areEqual(prompt, b.slice(0, -1)))
    throw new AttuneError(
      `"${sides[0]}" and "${sides[1]}" differ before their last message; they must have the same prompt`,
    );
  if (prompt.length === 0) throw new AttuneError(`"${sides[0]}" has no prompt; give the whole conversation`);
  return { prompt, a: getResponse(a, sides[0]), b: getResponse(b, sides[1]) };
}

function getResponse(messages: ChatMessage[], side: string): string {
  const last = messages.at(-1);
  if (last?.role === 'assistant') return last.content;
  throw new AttuneError(`"${side}" ends with a message by ${last?.role}; end it with the assistant's response`);
}

function areEqual(a: ChatMessage[], b: ChatMessage[]): boolean {
  return a.length === b.length && a.every(({ role, content }, i) => role === b[i]?.role && content === b[i]?.content);
}

function parseField<T>(schema: z.ZodType<T>, value: unknown, at?: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path = [], message } = parsed.error.issues[0] ?? {};
  throw new AttuneError(`"${[...(at ? [at] : []), ...path].join('.')}" ${message}`);
}
