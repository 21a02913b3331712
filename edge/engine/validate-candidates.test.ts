import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { validateCandidates } from './validate-candidates.ts';

const policy = {
  id: 'pol_tiny',
  architecture: tinyArchitecture(),
  kvMemoryBytes: 2 ** 30,
  maxRows: 16,
  kvBytesPerPosition: 256,
};
const candidates = {
  count: 16,
  promptLength: 20,
  maxTokens: 40,
  fields: { count: 'best_of' as const, maxTokens: 'max_completion_tokens' },
};

test('as many candidates as decode together are admitted, and one more names the rows', () => {
  validateCandidates(candidates, policy);
  assert.throws(() => validateCandidates({ ...candidates, count: 17 }, policy), {
    param: 'best_of',
    code: 'best_of_exceeded',
    message: /^best_of: 17 candidates exceed the 16 rows .* give 16 or less/,
  });
  const fields = { ...candidates.fields, count: 'n' as const };
  assert.throws(() => validateCandidates({ ...candidates, count: 17, fields }, policy), {
    param: 'n',
    message: /^n: .* give 16 or less, or fewer max_completion_tokens/,
  });
});

test('the memory of the policy that computes them bounds the candidates', () => {
  // At 256 bytes a token a candidate of up to 63 tokens takes 16,384 bytes.
  const small = { ...policy, id: 'pol_small', kvMemoryBytes: 50_000 };
  validateCandidates({ ...candidates, count: 3 }, small);
  assert.throws(() => validateCandidates({ ...candidates, count: 4 }, small), {
    code: 'best_of_exceeded',
    message: /KV_MEMORY of 50000 bytes holds 3 candidates of up to 60 tokens for policy pol_small, .* give 3 or less/,
  });
});

test('candidates must fit the context of the policy that scores them', () => {
  const short = { ...policy, id: 'pol_short', architecture: tinyArchitecture({ contextLength: 50 }) };
  assert.throws(() => validateCandidates(candidates, short), {
    param: 'max_completion_tokens',
    code: 'context_length_exceeded',
    message: /up to 60 tokens, and policy pol_short, .* context of 50; give 30 or less/,
  });
});
