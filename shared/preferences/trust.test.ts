import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getTrust } from './trust.ts';

test('what people who signed in chose or wrote is trusted most, then what a backend says, then files', () => {
  const levels = [
    ['comparison', 'rater_1', 'rated'],
    ['comparison', 'key_1', 'rated'],
    ['comparison', 'user:ann', 'feedback'],
    ['comparison', 'anonymous', 'feedback'],
    ['generations', 'rater_1', 'rated'],
    ['raw', 'rater_1', 'feedback'],
    ['demonstration', 'rater_1', 'rated'],
    ['demonstration', 'user:ann', 'feedback'],
    ['demonstration', 'anonymous', 'feedback'],
    ['implicit', 'user:ann', 'feedback'],
    ['implicit', 'key_1', 'feedback'],
    ['import', 'import:ann', 'imported'],
  ] as const;
  for (const [source, rater, trust] of levels) assert.equal(getTrust({ source, rater }), trust, `${source} ${rater}`);
});
