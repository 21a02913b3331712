import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listCases } from './serving-cases.ts';

const name = (cases: ReturnType<typeof listCases>) => cases.map(({ streams, promptLength }) => [streams, promptLength]);

test('long prompts are measured alone unless streams are named', () => {
  assert.deepEqual(name(listCases({ tokens: 64 }, 8192)).slice(-2), [
    [16, 256],
    [1, 1024],
  ]);
  assert.deepEqual(name(listCases({ tokens: 64, prompts: [2048], streams: [4] }, 8192)), [[4, 2048]]);
});

test('a prompt is shortened to what fits the context beside the generation, and measured once', () => {
  const cases = listCases({ tokens: 64, prompts: [32, 2048, 8192], streams: [1] }, 2048);
  assert.deepEqual(name(cases), [
    [1, 32],
    [1, 1984],
  ]);
  assert.throws(() => listCases({ tokens: 64 }, 64), /--tokens: 64 leave no room for a prompt in a context of 64/);
});
