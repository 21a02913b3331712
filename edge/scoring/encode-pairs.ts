// From given prompts and responses to tokens. Texts are tokenized as the trainer reads an imported pair, token ids are taken
// as they are.

import type { Prompt } from '../../shared/chat-message.ts';
import type { LoadedPolicy, Waiter } from '../engine/inference.ts';
import { getPromptField, validateCharacters, validatePair } from '../engine/validate-prompt.ts';
import type { TokenPair } from './score-responses.ts';

type Texts = {
  /** Token ids only if every response has them too. */
  prompt: Prompt | number[];
  responses: (string | number[])[];
  /** Whether texts end with the end-of-text token. */
  eos: boolean;
};

/** `scorers`: the policies that the tokens must fit; the first one's tokenizer is theirs too. */
export async function encodePairs(
  { prompt, responses, eos }: Texts,
  scorers: [LoadedPolicy, ...LoadedPolicy[]],
  waiter: Waiter,
): Promise<TokenPair[]> {
  const pairs: TokenPair[] = [];
  // One after the other, so that a request with many responses takes one turn of its tenant at a time.
  for (const response of responses) pairs.push(await encode(scorers[0], prompt, response, eos, waiter));
  const field = isTokens(prompt) ? 'prompt' : getPromptField(prompt);
  for (const scorer of scorers) for (const pair of pairs) validatePair(pair, scorer, field);
  return pairs;
}

async function encode(
  policy: LoadedPolicy,
  prompt: Prompt | number[],
  response: string | number[],
  eos: boolean,
  waiter: Waiter,
): Promise<TokenPair> {
  if (isTokens(prompt)) return { promptIds: prompt, responseIds: response as number[] };
  if (typeof response !== 'string') {
    validateCharacters(prompt, policy);
    return { ...(await policy.encodePrompt(prompt, waiter)), responseIds: response };
  }
  validateCharacters(prompt, policy, response);
  return policy.encodePair(prompt, { text: response, eos }, waiter);
}

function isTokens(prompt: Prompt | number[]): prompt is number[] {
  return typeof prompt[0] === 'number';
}
