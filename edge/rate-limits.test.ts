import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings } from '../shared/settings.ts';
import { formatDuration, openRateLimits } from './rate-limits.ts';

test('durations are written as OpenAI writes them', () => {
  assert.deepEqual([0, 12.3, 999, 1000, 58_001, 60_000, 360_000, 61_500].map(formatDuration), [
    '0ms',
    '13ms',
    '999ms',
    '1s',
    '59s',
    '1m0s',
    '6m0s',
    '1m2s',
  ]);
});

test('a generation that may use more than the limit is admitted in a fresh minute, and only then', async () => {
  const limits = openRateLimits(readSettings({ TOKENS_PER_MINUTE: '100' }))!;
  const settle = await limits.reserveTokens('key_a', 500);
  assert.equal((await limits.listHeaders({ id: 'key_a' }))['x-ratelimit-remaining-tokens'], '0');
  await assert.rejects(limits.reserveTokens('key_a', 1), { status: 429, code: 'rate_limit_exceeded' });
  await settle(40);
  assert.equal((await limits.listHeaders({ id: 'key_a' }))['x-ratelimit-remaining-tokens'], '60');
  await assert.rejects(limits.reserveTokens('key_a', 500), { status: 429 });
  await (await limits.reserveTokens('key_a', 60))(60);
  await assert.rejects(limits.reserveTokens('key_a', 1), { status: 429 });
});

test('without a limit there is nothing to count', () => {
  assert.equal(openRateLimits(readSettings({})), undefined);
});
