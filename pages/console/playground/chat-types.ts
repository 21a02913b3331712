// A conversation of the playground: turns, each with the replies of one policy, or of two side by side.

import type { Prompt } from '../../api.ts';

export type TokenEntry = { token: string; logprob: number; top_logprobs: { token: string; logprob: number }[] };

export type Reply = {
  /** what was sent, less `stream` */
  body: ChatBody;
  text: string;
  tokens: TokenEntry[];
  state: 'writing' | 'done' | 'stopped' | 'failed';
  error: string | null;
  /** once it is complete, and stored */
  generation: string | null;
  model: string | null;
  finish: string | null;
  usage: { prompt_tokens: number; completion_tokens: number } | null;
  firstMs: number | null;
  totalMs: number | null;
  thumb: 1 | -1 | null;
};

/** `replies`: one for each policy that was asked. */
export type Turn = { id: number; prompt: string; replies: Reply[] };

export type Options = {
  system: string;
  temperature: number;
  topP: number;
  /** '': as many as fit */
  maxTokens: string;
  /** '': another one each time */
  seed: string;
  /** a JSON Schema, as text; '': any text */
  schema: string;
  logprobs: boolean;
};

export const DEFAULTS: Options = {
  system: '',
  temperature: 1,
  topP: 1,
  maxTokens: '',
  seed: '',
  schema: '',
  logprobs: true,
};

export type ChatBody = {
  model: string;
  messages: Exclude<Prompt, string>;
  temperature: number;
  top_p: number;
  max_tokens?: number;
  seed?: number;
  logprobs?: true;
  top_logprobs?: number;
  response_format?: { type: 'json_schema'; json_schema: { name: string; schema: unknown; strict: true } };
};

const ALTERNATIVES = 5;

/** Throws if the schema is not valid JSON. `at`: which of the replies of earlier turns are part of the conversation. */
export function toBody(model: string, turns: Turn[], prompt: string, at: number, options: Options): ChatBody {
  const { system, temperature, topP, maxTokens, seed, schema, logprobs } = options;
  const messages: ChatBody['messages'] = system.trim() === '' ? [] : [{ role: 'system', content: system }];
  for (const turn of turns) {
    const reply = turn.replies[at] ?? turn.replies[0]!;
    messages.push({ role: 'user', content: turn.prompt }, { role: 'assistant', content: reply.text });
  }
  messages.push({ role: 'user', content: prompt });
  return {
    model,
    messages,
    temperature,
    top_p: topP,
    ...(maxTokens === '' ? {} : { max_tokens: Number(maxTokens) }),
    ...(seed === '' ? {} : { seed: Number(seed) }),
    ...(logprobs ? { logprobs: true, top_logprobs: ALTERNATIVES } : {}),
    ...(schema.trim() === ''
      ? {}
      : {
          response_format: {
            type: 'json_schema',
            json_schema: { name: 'answer', schema: parseSchema(schema), strict: true },
          },
        }),
  };
}

function parseSchema(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`The schema is not valid JSON: ${(error as Error).message}`);
  }
}
