import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ShareReason } from '../../shared/database/round-types.ts';
import { describeOrigins } from './pair-origins.ts';

const vote = (rater: string, prompt: string, isGood = true, source: 'comparison' | 'raw' = 'comparison') => ({
  tenant: 'default',
  rater,
  source,
  created_by: 'key_1',
  prompt,
  ...(isGood ? { chosen: 'yes', rejected: 'no' } : { chosen: 'no', rejected: 'yes' }),
});

test('the raters with the most pairs are named with how often most of the others disagree', () => {
  const votes = ['p', 'q', 'r'].flatMap((prompt) => [
    vote('ann', prompt),
    vote('bob', prompt),
    vote('user:mallory', prompt, false),
  ]);
  const alone = [vote('eve', 's'), vote('eve', 't')];
  const tied = [vote('dan', 'p')];
  const all = [...votes, ...alone, ...tied];
  const leftOut = new Map<(typeof all)[number], ShareReason>([[votes[2]!, 'rater_share']]);
  const used = all.filter((pair) => !leftOut.has(pair));
  const { raters, rater_count, sources, trust, capped_keys } = describeOrigins(used, leftOut, all);
  assert.deepEqual([rater_count, sources, capped_keys], [5, { comparison: 11 }, []]);
  assert.deepEqual(trust, { rated: 9, feedback: 2 });
  const find = (name: string) => raters.find(({ rater }) => rater === name)!;
  assert.deepEqual(find('user:mallory'), {
    tenant: 'default',
    rater: 'user:mallory',
    pairs: 2,
    capped: 1,
    disagreement: 1,
  });
  assert.equal(find('eve').disagreement, null);
  // Of two others one agrees with her.
  assert.equal(find('ann').disagreement, 0);
  assert.equal(raters.at(-1)!.rater, 'dan');
});

test('keys are named whose given texts were left out, and no more than 20 raters', () => {
  const given = Array.from({ length: 40 }, (_, at) => vote(`user:${at}`, `${at}`, true, 'raw'));
  const leftOut = new Map<(typeof given)[number], ShareReason>(given.slice(30).map((pair) => [pair, 'source_share']));
  const { raters, rater_count, capped_keys } = describeOrigins(given.slice(0, 30), leftOut, given);
  assert.deepEqual([raters.length, rater_count], [20, 30]);
  assert.deepEqual(capped_keys, [{ tenant: 'default', key: 'key_1', pairs: 30, capped: 10 }]);
});
