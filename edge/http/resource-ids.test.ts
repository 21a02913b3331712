import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '../../shared/id.ts';
import { listResourceIds } from './resource-ids.ts';

const PREFIXES = ['cmp_', 'chatcmpl-', 'cmpl-', 'pref_', 'rater_'] as const;

test('the ids of a response are those of its rows, at any depth, each once', () => {
  const [comparison, chat, completion, preference, rater] = PREFIXES.map(newId);
  const response = {
    id: preference,
    comparison,
    chosen: { generation: chat, text: 'upon' },
    rejected: { generation: completion, text: null },
    choices: [{ generation_id: chat }, { generation_id: newId('round_') }],
    rater,
    count: 2,
  };
  assert.deepEqual(listResourceIds(response).toSorted(), [comparison, chat, completion, preference, rater].toSorted());
});

test('ids in the text of the caller or the policy name no rows, however many there are', () => {
  const id = newId('cmp_');
  const many = Array.from({ length: 24_000 }, () => newId('pref_'));
  const response = {
    id,
    prompt: many.map((content) => ({ role: 'user', content })),
    a: { text: many.join(' ') },
    b: { text: `see ${many[0]}` },
    metadata: { note: many[1] },
  };
  assert.deepEqual(listResourceIds(response), [id]);
  assert.deepEqual(listResourceIds({ ...response, prompt: many[0] }), [id]);
  assert.deepEqual(listResourceIds(null), []);
});
