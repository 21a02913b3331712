import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { Architecture } from '../../shared/model/architecture.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import type { PreferencePair } from './pairs.ts';
import { type LengthLimits, type TokenizedPair, tokenizePair } from './tokens.ts';

let folder: string;
let tokenizer: Tokenizer;
let architecture: Architecture;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'attune-tokens-'));
  ({ architecture } = await writeTinyCheckpoint(folder, { contextLength: 40 }));
  tokenizer = await Tokenizer.open(folder);
});
after(() => rm(folder, { recursive: true, force: true }));

/** A sampled pair with these numbers of tokens; the responses have the first `shared` tokens in common. */
function sampled(prompt: number, chosen: number, rejected: number, shared = 0): PreferencePair {
  const ids = (count: number, from: number) => Array.from({ length: count }, (_, i) => from + (i % 50));
  const side = (count: number, from: number) => ({
    policyId: 'pol_1',
    responseIds: [...ids(shared, 20), ...ids(count - shared, from)],
    logps: null,
  });
  return {
    id: 'pref_1',
    rater: 'r1',
    prompt: '',
    chosen: '',
    rejected: '',
    isSteered: false,
    sampled: { promptIds: [1, ...ids(prompt - 1, 100)], chosen: side(chosen, 20), rejected: side(rejected, 160) },
  };
}
const NONE: LengthLimits = { max_length: null, max_prompt_length: null };
const tokenize = (pair: PreferencePair, limits = NONE) => tokenizePair(pair, tokenizer, architecture, limits);
const lengths = ({ chosen, rejected }: TokenizedPair) => [
  chosen.promptIds.length,
  chosen.responseIds.length,
  rejected.responseIds.length,
];

test('a pair that fits keeps its sampled tokens', () => {
  const pair = tokenize(sampled(10, 12, 5)) as TokenizedPair;
  assert.deepEqual(lengths(pair), [10, 12, 5]);
  assert.deepEqual([pair.isPromptTruncated, pair.isResponseTruncated], [false, false]);
});

test('a response is truncated from the right at the context length', () => {
  const pair = tokenize(sampled(10, 60, 5)) as TokenizedPair;
  assert.deepEqual(lengths(pair), [10, 30, 5]);
  assert.deepEqual([pair.isPromptTruncated, pair.isResponseTruncated], [false, true]);
});

test('a prompt that is too long is truncated from the left and keeps its beginning-of-text token', () => {
  const pair = tokenize(sampled(100, 60, 5)) as TokenizedPair;
  assert.deepEqual(lengths(pair), [20, 20, 5]);
  assert.equal(pair.chosen.promptIds[0], 1);
  assert.deepEqual(pair.chosen.promptIds.slice(1), sampled(100, 1, 1).sampled!.promptIds.slice(-19));
  const short = tokenize(sampled(100, 3, 2)) as TokenizedPair;
  assert.deepEqual(lengths(short), [37, 3, 2]);
});

test('prompt and responses keep at least one token under any limits', () => {
  for (const max_length of [2, 3, 7]) {
    for (const max_prompt_length of [1, 2, 50]) {
      const pair = tokenize(sampled(30, 9, 8), { max_length, max_prompt_length });
      assert.notEqual(typeof pair, 'string');
      const [prompt, chosen, rejected] = lengths(pair as TokenizedPair) as [number, number, number];
      assert.ok(prompt >= 1 && chosen >= 1 && rejected >= 1);
      assert.ok(prompt <= max_prompt_length && prompt + Math.max(chosen, rejected) <= max_length);
    }
  }
});

test('sides that are equal after truncation are left out as identical', () => {
  assert.equal(tokenize(sampled(10, 60, 50, 40)), 'identical');
  assert.notEqual(tokenize(sampled(10, 25, 26, 20)), 'identical');
});

test('a side without a token is left out as empty', () => {
  assert.equal(tokenize(sampled(10, 0, 5)), 'empty');
});

test('texts are tokenized with an end-of-text token after the response', () => {
  const pair = tokenize({
    ...sampled(1, 1, 1),
    sampled: null,
    prompt: 'Once',
    chosen: ' up',
    rejected: ' a',
  }) as TokenizedPair;
  assert.equal(pair.chosen.responseIds.at(-1), architecture.eos[0]);
});
