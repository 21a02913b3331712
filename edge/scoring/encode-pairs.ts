// From given prompts and responses to tokens. Texts are tokenized as the trainer reads an imported pair, token ids are taken
// as they are.

import type { Prompt } from '../../shared/chat-message.ts';
import type { EncodedPrompt, LoadedPolicy, Waiter } from '../engine/inference.ts';
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
  const pairs = isTokens(prompt)
    ? responses.map((response) => ({ promptIds: prompt, responseIds: response as number[] }))
    : await encodeTexts({ prompt, responses, eos }, scorers[0], waiter);
  const field = isTokens(prompt) ? 'prompt' : getPromptField(prompt);
  for (const scorer of scorers) for (const pair of pairs) validatePair(pair, scorer, field);
  return pairs;
}

async function encodeTexts(
  { prompt, responses, eos }: Texts & { prompt: Prompt },
  policy: LoadedPolicy,
  waiter: Waiter,
): Promise<TokenPair[]> {
  const pairs: TokenPair[] = [];
  let encoded: EncodedPrompt | null = null;
  // One after the other, so that a request with many responses takes one turn of its tenant at a time.
  for (const response of responses) {
    if (typeof response === 'string') {
      // The prompt's last tokens depend on the response.
      validateCharacters(prompt, policy, response);
      pairs.push(await policy.encodePair(prompt, { text: response, eos }, waiter));
    } else {
      validateCharacters(prompt, policy);
      encoded ??= await policy.encodePrompt(prompt, waiter);
      pairs.push({ ...encoded, responseIds: response });
    }
  }
  return pairs;
}

function isTokens(prompt: Prompt | number[]): prompt is number[] {
  return typeof prompt[0] === 'number';
}
