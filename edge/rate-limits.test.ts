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
  const limits = openRateLimits(readSettings({ TOKENS_PER_MINUTE: '100' }));
  const settle = await limits.reserveTokens('key_a', 500);
  assert.equal((await limits.listHeaders({ id: 'key_a' }))['x-ratelimit-remaining-tokens'], '0');
  await assert.rejects(limits.reserveTokens('key_a', 1), { status: 429, code: 'rate_limit_exceeded' });
  await settle(40);
  assert.equal((await limits.listHeaders({ id: 'key_a' }))['x-ratelimit-remaining-tokens'], '60');
  await assert.rejects(limits.reserveTokens('key_a', 500), { status: 429 });
  await (await limits.reserveTokens('key_a', 60))(60);
  await assert.rejects(limits.reserveTokens('key_a', 1), { status: 429 });
});

test('without a limit nothing is counted or reported', async () => {
  const limits = openRateLimits(readSettings({}));
  for (let at = 0; at < 100; at++) await limits.countRequest({ id: 'key_a', address: '192.0.2.1' });
  await limits.reserveTokens('key_a', 1e9);
  assert.deepEqual(await limits.listHeaders({ id: 'key_a' }), {});
});

test('a key has its own limits instead of the server’s', async () => {
  const limits = openRateLimits(readSettings({ REQUESTS_PER_MINUTE: '5' }));
  const own = { id: 'key_own', address: '192.0.2.1', limits: { requests: 2, tokens: 100, concurrent: null } };
  const count = (times: number, caller: typeof own | { id: string; address: string }) =>
    Promise.all(Array.from({ length: times }, () => limits.countRequest(caller)));
  await count(2, own);
  await assert.rejects(limits.countRequest(own), { status: 429 });
  assert.equal((await limits.listHeaders(own))['x-ratelimit-limit-requests'], '2');
  await limits.reserveTokens('key_own', 100);
  await assert.rejects(limits.reserveTokens('key_own', 1), { status: 429 });
  await count(5, { id: 'key_other', address: '192.0.2.1' });
  await assert.rejects(limits.countRequest({ id: 'key_other', address: '192.0.2.1' }), { status: 429 });
  await limits.reserveTokens('key_other', 1e6);
});
