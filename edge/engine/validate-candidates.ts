// Rejects best-of sampling of more candidates than can be decoded together: all of them are computed, by the policy that
// samples and by those that score, before the first is returned.
import { AttuneError } from '../../shared/error.ts';
import type { LoadedPolicy } from './inference.ts';
import { type KvBudget, maxSequenceLength, reservedKvBytes } from './kv-budget.ts';

export type Candidates = {
  count: number;
  promptLength: number;
  maxTokens: number;
  /** the request fields that the numbers come from */
  fields: { count: 'best_of' | 'n'; maxTokens: string };
};

/** `policy`: the one that samples them, or one that scores them. */
export function validateCandidates(
  { count, promptLength, maxTokens, fields }: Candidates,
  policy: Pick<LoadedPolicy, 'id' | 'architecture' | 'maxRows'> & KvBudget,
): void {
  const { id, architecture, maxRows, kvMemoryBytes, kvBytesPerPosition } = policy;
  const length = promptLength + maxTokens;
  const { contextLength } = architecture;
  if (length > contextLength)
    throw new AttuneError(
      `${fields.maxTokens}: prompt and candidate have up to ${length} tokens, and policy ${id}, which scores them, has a context ` +
        `of ${contextLength}; give ${contextLength - promptLength} or less`,
      { param: fields.maxTokens, code: 'context_length_exceeded' },
    );
  if (count > maxRows)
    throw tooMany(`${count} candidates exceed the ${maxRows} rows that decode together (MAX_ROWS)`, maxRows, fields);
  const maxLength = maxSequenceLength(policy, contextLength);
  const rows = Math.floor(kvMemoryBytes / reservedKvBytes(policy, maxLength, promptLength, maxTokens));
  if (count > rows)
    throw tooMany(
      `KV_MEMORY of ${kvMemoryBytes} bytes holds ${rows} candidates of up to ${length} tokens for policy ${id}, at ` +
        `${kvBytesPerPosition} bytes a token, not ${count}`,
      rows,
      fields,
    );
}

function tooMany(problem: string, limit: number, { count, maxTokens }: Candidates['fields']): AttuneError {
  return new AttuneError(`${count}: ${problem}; give ${limit} or less, or fewer ${maxTokens}`, {
    param: count,
    code: 'best_of_exceeded',
  });
}
