// The shapes in which people keep preferences, each recognised by a key of its own and read into records. A row is taken
// whole or refused with the reason: nothing is guessed, and what a shape does not name is kept as metadata.
// Sources: OpenAI's preference fine-tuning, TRL's dataset formats, OpenPipe, ShareGPT pairs, Chatbot Arena's votes, the
// instruct pairs of alpaca descent, and PandaLM's test set with its three annotators.
import { z } from 'zod';
import type { ChatMessage } from '../chat-message.ts';
import { AttuneError } from '../error.ts';
import { answer, conversation, need, oneAnswer, text, textOrMessages, turnOfAnswer, turns } from './message-schemas.ts';
import type { PreferenceRecord } from './record.ts';

export type Row = Record<string, unknown>;
export type Judgement = Pick<PreferenceRecord, 'prompt' | 'a' | 'b' | 'choice'> & { rater?: string; metadata?: Row };
export type Format = {
  name: string;
  /** how the shape is written, for the reader of a refusal */
  keys: string;
  matches(row: Row): boolean;
  parse(row: Row): Judgement[];
  /** the keys that read understands; the rest is metadata */
  knownKeys: RegExp;
  /** what the two answers are called in the row */
  responseKeys: [string, string];
};

/** In the order in which they are tried: a later one's key may appear in an earlier one's rows. */
export const FORMATS: Format[] = [
  openai('preferred_output', 'non_preferred_output'),
  openai('preferred_completion', 'non_preferred_completion'),
  {
    name: 'arena',
    keys: 'winner, conversation_a, conversation_b',
    matches: (row) => 'conversation_a' in row || 'conversation_b' in row,
    parse: readArena,
    knownKeys: /^(winner|conversation_a|conversation_b)$/,
    responseKeys: ['conversation_a', 'conversation_b'],
  },
  {
    name: 'openpipe',
    keys: 'messages, rejected_message',
    matches: (row) => 'rejected_message' in row,
    parse: readOpenPipe,
    knownKeys: /^(messages|rejected_message)$/,
    responseKeys: ['the last of messages', 'rejected_message'],
  },
  {
    name: 'sharegpt',
    keys: 'conversations, chosen, rejected',
    matches: (row) => 'conversations' in row,
    parse: readShareGpt,
    knownKeys: /^(conversations|system|chosen|rejected)$/,
    responseKeys: ['chosen', 'rejected'],
  },
  {
    name: 'pandalm',
    keys: 'instruction, input, response1, response2, annotator1…',
    matches: (row) => 'response1' in row || 'response2' in row,
    parse: readPandaLm,
    knownKeys: /^(instruction|input|response1|response2|annotator\d+)$/,
    responseKeys: ['response1', 'response2'],
  },
  {
    name: 'instruct',
    keys: 'instruction, input, chosen, rejected',
    matches: (row) => 'instruction' in row,
    parse: readInstruct,
    knownKeys: /^(instruction|input|chosen|rejected)$/,
    responseKeys: ['chosen', 'rejected'],
  },
  {
    name: 'trl',
    keys: 'prompt, chosen, rejected',
    matches: (row) => 'chosen' in row || 'rejected' in row,
    parse: readTrl,
    knownKeys: /^(prompt|chosen|rejected)$/,
    responseKeys: ['chosen', 'rejected'],
  },
];

const openaiInput = z.object(
  { messages: conversation, tools: z.array(z.unknown(), need('a list, or leave it out')).nullish() },
  need('an object with messages'),
);

function openai(chosen: string, rejected: string): Format {
  return {
    name: 'openai',
    keys: `input.messages, ${chosen}, ${rejected}`,
    matches: (row) => chosen in row || rejected in row,
    parse: (row) => {
      const { messages, tools } = check(openaiInput, row.input, 'input');
      const [a, b] = [check(oneAnswer, row[chosen], chosen), check(oneAnswer, row[rejected], rejected)];
      return [{ prompt: messages, a, b, choice: 'a', metadata: tools?.length ? { tools } : {} }];
    },
    knownKeys: new RegExp(`^(input|${chosen}|${rejected})$`),
    responseKeys: [chosen, rejected],
  };
}

const trl = z.object({ prompt: textOrMessages.nullish(), chosen: textOrMessages, rejected: textOrMessages });

function readTrl(row: Row): Judgement[] {
  const { prompt, chosen, rejected } = check(trl, row);
  if (typeof chosen === 'string' && typeof rejected === 'string') {
    if (prompt == null)
      throw new AttuneError('prompt is missing; give it, or write chosen and rejected as whole conversations');
    return [{ prompt, a: chosen, b: rejected, choice: 'a' }];
  }
  if (typeof chosen === 'string' || typeof rejected === 'string')
    throw new AttuneError('chosen and rejected are of two kinds; write both as text or both as messages');
  if (prompt != null && chosen.length === 1 && rejected.length === 1)
    return [{ prompt, a: answerOf(chosen, 'chosen'), b: answerOf(rejected, 'rejected'), choice: 'a' }];
  const split = splitPrompt(chosen, rejected, ['chosen', 'rejected']);
  const last = split.prompt.at(-1);
  if (prompt != null && (typeof prompt === 'string' ? prompt !== last?.content : !isSame(prompt, split.prompt)))
    throw new AttuneError('prompt is not what chosen and rejected begin with; leave prompt out or make them agree');
  return [{ ...split, choice: 'a' }];
}

const openPipe = z.object({ messages: conversation, rejected_message: answer });

function readOpenPipe(row: Row): Judgement[] {
  const { messages, rejected_message } = check(openPipe, row);
  if (messages.length < 2)
    throw new AttuneError('messages holds no prompt; give the conversation, the chosen answer last');
  return [{ prompt: messages.slice(0, -1), a: answerOf(messages, 'messages'), b: rejected_message, choice: 'a' }];
}

const shareGpt = z.object({
  conversations: turns,
  system: text.nullish(),
  chosen: turnOfAnswer,
  rejected: turnOfAnswer,
});

function readShareGpt(row: Row): Judgement[] {
  const { conversations, system, chosen, rejected } = check(shareGpt, row);
  const prompt: ChatMessage[] = system ? [{ role: 'system', content: system }, ...conversations] : conversations;
  return [{ prompt, a: chosen, b: rejected, choice: 'a' }];
}

const WINNERS = { model_a: 'a', model_b: 'b', tie: 'tie', 'tie (bothbad)': 'both_bad', both_bad: 'both_bad' } as const;
const winners = ['model_a', 'model_b', 'tie', 'tie (bothbad)', 'both_bad'] as const;
const arena = z.object({
  winner: z.enum(winners, need(`one of ${winners.join(', ')}`)),
  conversation_a: conversation,
  conversation_b: conversation,
});

function readArena(row: Row): Judgement[] {
  const { winner, conversation_a, conversation_b } = check(arena, row);
  const split = splitPrompt(conversation_a, conversation_b, ['conversation_a', 'conversation_b']);
  return [{ ...split, choice: WINNERS[winner] }];
}

const instruct = z.object({ instruction: text, input: text.nullish(), chosen: text, rejected: text });

function readInstruct(row: Row): Judgement[] {
  const { instruction, input, chosen, rejected } = check(instruct, row);
  return [{ prompt: instructionOf(instruction, input), a: chosen, b: rejected, choice: 'a' }];
}

const pandaLm = z.object({ instruction: text, input: text.nullish(), response1: text, response2: text });
const VOTES = ['tie', 'a', 'b'] as const;
const vote = z.literal([0, 1, 2], need('0 for a tie, 1 or 2'));

function readPandaLm(row: Row): Judgement[] {
  const { instruction, input, response1, response2 } = check(pandaLm, row);
  const annotators = Object.keys(row).filter((key) => /^annotator\d+$/.test(key));
  if (annotators.length === 0) throw new AttuneError('annotator1 is missing; give 0 for a tie, 1 or 2');
  return annotators.map((rater) => {
    const choice = VOTES[check(vote, row[rater], rater)];
    return { prompt: instructionOf(instruction, input), a: response1, b: response2, choice, rater };
  });
}

// An instruction is spoken to an assistant, so it becomes a user's message and goes through the chat template.
function instructionOf(instruction: string, input: string | null | undefined): ChatMessage[] {
  return [{ role: 'user', content: input?.trim() ? `${instruction}\n\n${input}` : instruction }];
}

/** Two whole conversations → the prompt that they share and the one answer that ends each. */
function splitPrompt(a: ChatMessage[], b: ChatMessage[], sides: [string, string]) {
  const prompt = a.slice(0, -1);
  if (!isSame(prompt, b.slice(0, -1)))
    throw new AttuneError(
      `${sides[0]} and ${sides[1]} differ before their last message; they must share the prompt and end in one answer each`,
    );
  if (prompt.length === 0) throw new AttuneError(`${sides[0]} holds no prompt; give the whole conversation`);
  return { prompt, a: answerOf(a, sides[0]), b: answerOf(b, sides[1]) };
}

function answerOf(messages: ChatMessage[], side: string): string {
  const last = messages.at(-1);
  if (last?.role === 'assistant') return last.content;
  throw new AttuneError(`${side} ends with a message by ${last?.role}; end it with the assistant's answer`);
}

function isSame(a: ChatMessage[], b: ChatMessage[]): boolean {
  return a.length === b.length && a.every(({ role, content }, i) => role === b[i]?.role && content === b[i]?.content);
}

function check<T>(schema: z.ZodType<T>, value: unknown, at?: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path = [], message } = parsed.error.issues[0] ?? {};
  throw new AttuneError(`${[...(at ? [at] : []), ...path].join('.')} ${message}`);
}
