import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AttuneError } from '../../shared/error.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import type { LoadedPolicy } from './inference.ts';
import { validateCharacters, validatePair, validatePrompt } from './validate-prompt.ts';

const policy = { id: 'pol_tiny', architecture: tinyArchitecture(), kvMemoryBytes: 2 ** 30, kvBytesPerPosition: 256 };
const makePrompt = (length: number) => new Array<number>(length).fill(40);

function matches(code: string, param: string, message: RegExp) {
  return (error: AttuneError) => {
    assert.deepEqual([error.status, error.code, error.param], [400, code, param]);
    assert.match(error.message, message);
    assert.ok(error.message.startsWith(`${param}: `));
    return true;
  };
}

test('a prompt that fills the context is rejected with both numbers; one token less leaves one token', () => {
  assert.throws(
    () => validatePrompt(makePrompt(128), policy, 'messages'),
    matches('context_length_exceeded', 'messages', /128 tokens.*context of 128/),
  );
  assert.equal(validatePrompt(makePrompt(127), policy, 'messages'), 1);
});

test('a prompt that can never fit into KV_MEMORY is rejected with the setting and the limit, naming the field', () => {
  // At 256 bytes per position 64 positions fit, of which the last stays free.
  const small = { ...policy, kvMemoryBytes: 20_000 };
  for (const field of ['messages', 'prompt'] as const)
    assert.throws(
      () => validatePrompt(makePrompt(63), small, field),
      matches('kv_memory_exceeded', field, /63 tokens.*KV_MEMORY of 20000 bytes holds 63 tokens/),
    );
  assert.equal(validatePrompt(makePrompt(60), small, 'prompt'), 68);
});

test('an empty prompt and a token outside the vocabulary are rejected', () => {
  assert.throws(() => validatePrompt([], policy, 'prompt'), matches('empty_prompt', 'prompt', /empty/));
  assert.throws(() => validatePrompt([1, 99_999], policy, 'prompt'), /prompt: token 99999 is outside the vocabulary/);
});

test('more characters than the tokens of the context can have are rejected, counted over all messages', () => {
  const loaded = { ...policy, tokenizer: { longestToken: 6 } as Tokenizer } as LoadedPolicy;
  const content = 'a'.repeat(128 * 3);
  const fits = [
    { role: 'user', content },
    { role: 'assistant', content },
  ] as const;
  validateCharacters([...fits], loaded);
  validateCharacters(content + content, loaded);
  assert.throws(
    () => validateCharacters([...fits, { role: 'user', content: 'a' }], loaded),
    matches('context_length_exceeded', 'messages', /769 characters.*768 at most: 128 tokens of up to 6 characters/),
  );
  assert.throws(
    () => validateCharacters(`${content}${content}a`, loaded),
    matches('context_length_exceeded', 'prompt', /769 characters/),
  );
});

test('a prompt with its response may fill the context and KV_MEMORY, but not exceed them or the vocabulary', () => {
  const makePair = (responseIds: number[]) => ({ promptIds: makePrompt(20), responseIds });
  const small = { ...policy, kvMemoryBytes: 20_000 };
  validatePair(makePair(makePrompt(108)), policy, 'prompt');
  validatePair(makePair(makePrompt(43)), small, 'prompt');
  assert.throws(
    () => validatePair(makePair(makePrompt(109)), policy, 'prompt'),
    matches('context_length_exceeded', 'responses', /129 tokens.*context of 128/),
  );
  assert.throws(
    () => validatePair(makePair(makePrompt(44)), small, 'prompt'),
    matches('kv_memory_exceeded', 'responses', /64 tokens.*KV_MEMORY of 20000 bytes holds 63/),
  );
  assert.throws(() => validatePair(makePair([99_999]), policy, 'prompt'), /responses: token 99999 is outside/);
});
