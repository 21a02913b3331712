import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRow } from './parse-row.ts';
import type { PreferenceRecord } from './record.ts';

const question = { role: 'user', content: 'Q' };
const good = { role: 'assistant', content: 'good' };
const bad = { role: 'assistant', content: 'bad' };
const image = { role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] };
const openai = { input: { messages: [question] }, preferred_output: [good], non_preferred_output: [bad] };
const arena = { question_id: 7, model_a: 'x', model_b: 'y', winner: 'model_b' };
const sides = { conversation_a: [question, good], conversation_b: [question, bad] };
const human = { conversations: [{ from: 'human', value: 'Q' }] };
const gpt = { chosen: { from: 'gpt', value: 'good' }, rejected: { from: 'gpt', value: 'bad' } };
const panda = { idx: 0, instruction: 'I', input: 'in', response1: 'good', response2: 'bad' };
const base = { prompt: [question], a: 'good', b: 'bad', choice: 'a', rater: null, externalId: null, metadata: {} };

const valid: [string, object, object][] = [
  ['openai', openai, {}],
  [
    'openai with its older names',
    { input: { messages: [question] }, preferred_completion: [good], non_preferred_completion: [bad] },
    {},
  ],
  [
    'openai with tools',
    { ...openai, input: { messages: [question], tools: [{ f: 1 }] } },
    { metadata: { tools: [{ f: 1 }] } },
  ],
  [
    'openai with content in parts',
    {
      ...openai,
      input: {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'Q' },
              { type: 'text', text: '!' },
            ],
          },
        ],
      },
    },
    { prompt: [{ role: 'user', content: 'Q!' }] },
  ],
  ['trl text', { prompt: 'Q', chosen: 'good', rejected: 'bad' }, { prompt: 'Q' }],
  ['trl messages', { prompt: [question], chosen: [good], rejected: [bad] }, {}],
  ['trl with the prompt inside both', { chosen: [question, good], rejected: [question, bad] }, {}],
  [
    'trl with the prompt inside both and beside',
    { prompt: 'Q', chosen: [question, good], rejected: [question, bad] },
    {},
  ],
  [
    'trl with other columns',
    { prompt: 'Q', chosen: 'good', rejected: 'bad', id: 'x', rater: 'r', score: 1, metadata: { m: 1 } },
    { prompt: 'Q', rater: 'r', externalId: 'x', metadata: { score: 1, m: 1 } },
  ],
  ['openpipe', { messages: [question, good], rejected_message: bad, split: 'TRAIN' }, { metadata: { split: 'TRAIN' } }],
  ['sharegpt', { ...human, ...gpt }, {}],
  [
    'sharegpt with a system',
    { ...human, ...gpt, system: 'S' },
    { prompt: [{ role: 'system', content: 'S' }, question] },
  ],
  [
    'instruct',
    { instruction: 'I', input: '', output: 'o', chosen: 'good', rejected: 'bad' },
    { prompt: [{ role: 'user', content: 'I' }], metadata: { output: 'o' } },
  ],
  [
    'instruct with an input',
    { instruction: 'I', input: 'in', chosen: 'good', rejected: 'bad' },
    { prompt: [{ role: 'user', content: 'I\n\nin' }] },
  ],
];
for (const [name, row, differs] of valid)
  test(`parses ${name}`, () => assert.deepEqual(parseRow(row), [{ ...base, ...differs }]));

for (const [winner, choice] of Object.entries({
  model_a: 'a',
  model_b: 'b',
  tie: 'tie',
  'tie (bothbad)': 'both_bad',
  both_bad: 'both_bad',
}))
  test(`arena's winner ${winner} is the choice ${choice}`, () =>
    assert.deepEqual(parseRow({ ...arena, ...sides, winner, judge: 'j' }), [
      { ...base, choice, rater: 'j', externalId: '7', metadata: { model_a: 'x', model_b: 'y' } },
    ]));

test('each of three annotators gives one record', () => {
  const records = parseRow({ ...panda, cmp_key: 'k', annotator1: 1, annotator2: 2, annotator3: 0 });
  const expected = {
    ...base,
    prompt: [{ role: 'user', content: 'I\n\nin' }],
    externalId: '0',
    metadata: { cmp_key: 'k' },
  };
  assert.deepEqual(records, [
    { ...expected, rater: 'annotator1' },
    { ...expected, rater: 'annotator2', choice: 'b' },
    { ...expected, rater: 'annotator3', choice: 'tie' },
  ] as PreferenceRecord[]);
});

const invalid: [object | null, RegExp][] = [
  [{ ...openai, preferred_output: [] }, /^openai: "preferred_output" is empty; give one assistant message$/],
  [{ ...openai, preferred_output: [good, good] }, /"preferred_output" has 2 messages; give one/],
  [{ ...openai, non_preferred_output: [question] }, /"non_preferred_output" is by user; give one/],
  [{ ...openai, non_preferred_output: undefined }, /"non_preferred_output" is missing/],
  [{ ...openai, input: undefined }, /^openai: "input" is missing; give an object with messages/],
  [{ ...openai, input: { messages: [] } }, /"input\.messages" is empty/],
  [{ ...openai, input: { messages: [image] } }, /"input\.messages\.0\.content\.0" is a part of type "image_url"/],
  [{ ...openai, input: { messages: [{ role: 'king', content: 'Q' }] } }, /messages\.0\.role" is "king"; give system/],
  [{ ...openai, preferred_output: [{ role: 'assistant', content: null, tool_calls: [{}] }] }, /tool calls are not/],
  [{ ...openai, preferred_output: [{ role: 'assistant', content: null }] }, /preferred_output\.0\.content" is null/],
  [{ prompt: 'Q', chosen: 'x', rejected: 'x' }, /^trl: "chosen" and "rejected" are equal/],
  [{ prompt: 'Q', chosen: 'x', rejected: ' \n' }, /"rejected" is empty/],
  [{ prompt: 'Q', chosen: 'x' }, /"rejected" is missing; give text or a list of messages/],
  [{ prompt: '', chosen: 'x', rejected: 'y' }, /the prompt is empty/],
  [{ chosen: 'x', rejected: 'y' }, /"prompt" is missing/],
  [{ prompt: 'Q', chosen: 'x', rejected: [bad] }, /have different types/],
  [{ chosen: [question, good], rejected: [{ role: 'user', content: 'P' }, bad] }, /differ before their last message/],
  [{ chosen: [good], rejected: [bad] }, /"chosen" has no prompt/],
  [{ chosen: [question, question], rejected: [question, bad] }, /"chosen" ends with a message by user/],
  [
    { prompt: 'P', chosen: [question, good], rejected: [question, bad] },
    /"prompt" differs from the beginning of "chosen" and "rejected"/,
  ],
  [{ messages: [good], rejected_message: bad }, /"messages" has no prompt/],
  [{ messages: [question, good], rejected_message: question }, /"rejected_message" is by user/],
  [{ ...human, ...gpt, rejected: { from: 'human', value: 'x' } }, /"rejected\.from" means user/],
  [
    { conversations: [{ from: 'constructor', value: 'Q' }], ...gpt },
    /"conversations\.0\.from" is "constructor"; use one/,
  ],
  [{ ...arena, ...sides, winner: 'me' }, /"winner" is "me"; give one of model_a/],
  [
    { ...arena, ...sides, conversation_b: [{ role: 'user', content: 'P' }, bad] },
    /^arena: "conversation_a" and "conversation_b" differ/,
  ],
  [{ ...panda, annotator1: 3 }, /"annotator1" is 3; give 0 for a tie, 1 or 2/],
  [panda, /"annotator1" is missing/],
  [{ ...panda, response1: true, annotator1: 1 }, /"response1" is true; give text/],
  [{ question: 'Q' }, /unknown format with the keys question; use one of openai \{.*trl \{prompt, chosen/],
  [[], /is an empty list; each row must be an object/],
  [null, /is null; each row must be an object/],
  [{ prompt: 'Q\0', chosen: 'x', rejected: 'y' }, /prompt contains a NUL character/],
  [
    { prompt: 'Q', chosen: 'x', rejected: 'y', extra: { deep: '\ud800' } },
    /extra\.deep contains an unpaired surrogate/,
  ],
];
for (const [row, reason] of invalid)
  test(`rejects an invalid row with the message ${reason}`, () =>
    assert.throws(() => parseRow(row), { message: reason }));

test('the name of a rater has at most 256 characters', () => {
  const row = { prompt: 'Q', chosen: 'a', rejected: 'b' };
  assert.equal(parseRow({ ...row, rater: 'é'.repeat(256) })[0]!.rater!.length, 256);
  assert.throws(() => parseRow({ ...row, rater: 'é'.repeat(257) }), /"rater" is 257 characters long; give at most 256/);
  assert.throws(
    () => parseRow({ instruction: 'I', response1: 'x', response2: 'y', [`annotator${'1'.repeat(256)}`]: 1 }),
    /the name of a rater is 265 characters long; give at most 256/,
  );
});
