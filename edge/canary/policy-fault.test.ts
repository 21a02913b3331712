import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import { isPolicyAtFault } from './policy-fault.ts';

test('what every policy suffers alike speaks against none, a rush hour too', () => {
  const failed = (code: string) => new AttuneError('failed', { status: 503, code });
  for (const code of ['queue_timeout', 'policies_busy', 'policy_store_unreachable', 'postgres_unavailable', 'closing'])
    assert.equal(isPolicyAtFault(failed(code)), false, code);
  for (const code of ['damaged_policy', 'policy_unusable', 'deadline_exceeded'])
    assert.equal(isPolicyAtFault(failed(code)), true, code);
});
