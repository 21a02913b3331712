// Rejects a prompt that a policy cannot process, before it is queued.
import { kvBytesPerPosition } from '../../shared/decoder/kv-cache.ts';
import { AttuneError } from '../../shared/error.ts';
import type { LoadedPolicy } from './inference.ts';
import { maxSequenceLength } from './kv-budget.ts';

type Policy = Pick<LoadedPolicy, 'id' | 'architecture'>;

export function validatePrompt(promptIds: number[], { id, architecture }: Policy, kvMemoryBytes: number): void {
  const { contextLength, vocabSize } = architecture;
  const count = promptIds.length;
  if (count >= contextLength) {
    throw new AttuneError(
      `messages: the prompt has ${count} tokens, and policy ${id} has a context of ${contextLength} tokens for prompt ` +
        'and completion together; shorten the messages',
      { param: 'messages', code: 'context_length_exceeded' },
    );
  }
  const maxLength = maxSequenceLength(kvMemoryBytes, architecture);
  if (count >= maxLength) {
    throw new AttuneError(
      `messages: the prompt has ${count} tokens, and KV_MEMORY of ${kvMemoryBytes} bytes holds ` +
        `${Math.max(0, maxLength)} tokens of prompt and completion together, at ${kvBytesPerPosition(architecture)} ` +
        `bytes each for policy ${id}; shorten the messages, or raise KV_MEMORY`,
      { param: 'messages', code: 'kv_memory_exceeded' },
    );
  }
  if (count === 0) throw new AttuneError('messages: the prompt has no tokens; add some text', { param: 'messages' });
  const invalid = promptIds.find((token) => !Number.isInteger(token) || token < 0 || token >= vocabSize);
  if (invalid !== undefined) {
    throw new AttuneError(`messages: token ${invalid} is outside policy ${id}'s vocabulary of ${vocabSize}`, {
      param: 'messages',
    });
  }
}
