// Rejects a prompt that a policy cannot process: by its characters before it is tokenized, and by its tokens after. Errors
// name the request's own field: `messages` of a chat, `prompt` of a text.
import type { Prompt } from '../../shared/chat-message.ts';
import { AttuneError } from '../../shared/error.ts';
import type { LoadedPolicy } from './inference.ts';
import { type KvBudget, maxSequenceLength } from './kv-budget.ts';

export type PromptField = 'messages' | 'prompt';

/** The field of a request that has the given responses. */
const RESPONSES = 'responses';

export function getPromptField(prompt: Prompt): PromptField {
  return typeof prompt === 'string' ? 'prompt' : 'messages';
}

/** More characters than the context's tokens can have need no tokenizing. `response`: a given one, if there is one. */
export function validateCharacters(
  prompt: Prompt,
  { id, architecture, tokenizer }: LoadedPolicy,
  response?: string,
): void {
  const count = countCharacters(prompt) + (response?.length ?? 0);
  const { contextLength } = architecture;
  const limit = contextLength * tokenizer.longestToken;
  if (count <= limit) return;
  const field = response === undefined ? getPromptField(prompt) : RESPONSES;
  const subject = response === undefined ? 'the prompt has' : 'prompt and response have';
  throw new AttuneError(
    `${field}: ${subject} ${count} characters, and the context of policy ${id} holds ${limit} at most: ` +
      `${contextLength} tokens of up to ${tokenizer.longestToken} characters; shorten it`,
    { param: field, code: 'context_length_exceeded' },
  );
}

/** Returns the number of tokens that the context leaves for the completion, at least one. */
export function validatePrompt(
  promptIds: number[],
  policy: Pick<LoadedPolicy, 'id' | 'architecture'> & KvBudget,
  field: PromptField,
): number {
  const { id, kvMemoryBytes, kvBytesPerPosition } = policy;
  const { contextLength, vocabSize } = policy.architecture;
  const count = promptIds.length;
  if (count === 0)
    throw new AttuneError(`${field}: the prompt is empty; give it some text`, { param: field, code: 'empty_prompt' });
  if (count >= contextLength) throw contextExceeded(field, `${count}`, contextLength);
  const maxLength = maxSequenceLength(policy, contextLength);
  if (count >= maxLength) {
    throw new AttuneError(
      `${field}: the prompt has ${count} tokens, and KV_MEMORY of ${kvMemoryBytes} bytes holds ` +
        `${Math.max(0, maxLength)} tokens of prompt and completion together, at ${kvBytesPerPosition} ` +
        `bytes each for policy ${id}; shorten it, or raise KV_MEMORY`,
      { param: field, code: 'kv_memory_exceeded' },
    );
  }
  validateVocabulary(promptIds, vocabSize, field);
  return contextLength - count;
}

/** Checks a prompt with a given response: both fit into the context and KV_MEMORY, and every token into the vocabulary. */
export function validatePair(
  { promptIds, responseIds }: { promptIds: number[]; responseIds: number[] },
  policy: Pick<LoadedPolicy, 'id' | 'architecture'> & KvBudget,
  field: PromptField,
): void {
  const { id, kvMemoryBytes, kvBytesPerPosition } = policy;
  const { contextLength, vocabSize } = policy.architecture;
  const count = promptIds.length + responseIds.length;
  if (promptIds.length === 0)
    throw new AttuneError(`${field}: the prompt is empty; give it some text`, { param: field, code: 'empty_prompt' });
  if (count > contextLength) throw pairExceedsContext(`${count}`, contextLength);
  const maxLength = maxSequenceLength(policy, contextLength);
  if (count > maxLength)
    throw new AttuneError(
      `${RESPONSES}: prompt and response have ${count} tokens, and KV_MEMORY of ${kvMemoryBytes} bytes holds ` +
        `${Math.max(0, maxLength)} at ${kvBytesPerPosition} bytes each for policy ${id}; shorten them, or ` +
        'raise KV_MEMORY',
      { param: RESPONSES, code: 'kv_memory_exceeded' },
    );
  validateVocabulary(promptIds, vocabSize, field);
  validateVocabulary(responseIds, vocabSize, RESPONSES);
}

export function validateVocabulary(ids: number[], vocabSize: number, param: string): void {
  const invalid = ids.find((id) => id >= vocabSize);
  if (invalid === undefined) return;
  throw new AttuneError(`${param}: token ${invalid} is outside the vocabulary of ${vocabSize}`, { param });
}

/** `count` is a number of tokens, or `more than` one. */
export function contextExceeded(field: PromptField, count: string, contextLength: number): AttuneError {
  return new AttuneError(
    `${field}: the prompt has ${count} tokens, and the policy has a context of ${contextLength} for prompt and ` +
      'completion together; shorten it',
    { param: field, code: 'context_length_exceeded' },
  );
}

/** `count` is a number of tokens, or `more than` one. */
export function pairExceedsContext(count: string, contextLength: number): AttuneError {
  return new AttuneError(
    `${RESPONSES}: prompt and response have ${count} tokens, and the policy has a context of ${contextLength} for both ` +
      'together; shorten them',
    { param: RESPONSES, code: 'context_length_exceeded' },
  );
}

function countCharacters(prompt: Prompt): number {
  if (typeof prompt === 'string') return prompt.length;
  return prompt.reduce((sum, { content }) => sum + content.length, 0);
}
