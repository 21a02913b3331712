import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AssignedBody, assign } from './assign.ts';

const canary = { id: 'can_1', share: 0.1 };
const caller = { tenant: 'shop', key: 'key_1' };
const user = (name: string): AssignedBody => ({ user: name, prompt: 'Once' });
const names = Array.from({ length: 10_000 }, (_, at) => `user-${at}`);
const findArms = (of: { id: string; share: number }) => names.map((name) => assign(of, caller, user(name)));

test('of 10,000 users the candidate gets its share, within a binomial bound', () => {
  for (const share of [0.02, 0.1, 0.5]) {
    const count = findArms({ id: 'can_1', share }).filter((arm) => arm === 'candidate').length;
    // Five standard deviations: once in two million canaries.
    const bound = 5 * Math.sqrt(names.length * share * (1 - share));
    assert.ok(Math.abs(count - names.length * share) < bound, `${count} of ${names.length} at ${share}`);
  }
});

test('a user keeps its policy, whatever it asks, and through any key of its tenant', () => {
  const arms = new Set<string>();
  for (const name of names.slice(0, 200)) {
    const own = [
      { user: name, prompt: 'Once' },
      { user: name, prompt: ['a', 'b'] },
      { user: name, messages: [{ role: 'user', content: 'Hi' }] },
    ].flatMap((body) => ['key_1', 'key_2'].map((key) => assign(canary, { tenant: 'shop', key }, body)));
    assert.equal(new Set(own).size, 1);
    arms.add(own[0]!);
  }
  assert.deepEqual([...arms].sort(), ['baseline', 'candidate']);
});

test('a larger share keeps the users of a smaller one', () => {
  const [few, many] = [findArms(canary), findArms({ ...canary, share: 0.3 })];
  assert.ok(few.every((arm, at) => arm === 'baseline' || many[at] === 'candidate'));
});

test('another canary shuffles anew', () => {
  const [first, second] = [findArms(canary), findArms({ id: 'can_2', share: 0.1 })];
  const both = names.filter((_, at) => first[at] === 'candidate' && second[at] === 'candidate').length;
  assert.ok(both > 50 && both < 150, `${both} users are in both, where chance gives 100`);
});

test('users of two tenants with one name are not the same', () => {
  const other = names.map((name) => assign(canary, { tenant: 'bank', key: 'key_1' }, user(name)));
  assert.notDeepEqual(other, findArms(canary));
});

test('without a user a conversation keeps its policy as it goes on, and one key has both', () => {
  const arms = names.slice(0, 300).map((name) => {
    const system = { role: 'system', content: 'Be brief.' };
    const first = { role: 'user', content: name };
    const turns = [
      [first],
      [system, first],
      [system, first, { role: 'assistant', content: 'Yes?' }, { role: 'user', content: 'More' }],
      [
        {
          role: 'user',
          content: [
            { type: 'text', text: name.slice(0, 3) },
            { type: 'text', text: name.slice(3) },
          ],
        },
      ],
    ].map((messages) => assign(canary, caller, { messages }));
    assert.equal(new Set(turns).size, 1);
    return turns[0]!;
  });
  assert.deepEqual([...new Set(arms)].sort(), ['baseline', 'candidate']);
  const prompts = names.slice(0, 300).map((prompt) => assign(canary, caller, { prompt }));
  assert.deepEqual(new Set(prompts).size, 2);
});

test('an empty user is none, and a body that the route will refuse has an assignment all the same', () => {
  const empty = names.slice(0, 100).map((prompt) => assign(canary, caller, { user: '', prompt }));
  assert.deepEqual(
    empty,
    names.slice(0, 100).map((prompt) => assign(canary, caller, { prompt })),
  );
  for (const body of [
    {},
    { messages: 'x' },
    { messages: [null] },
    { messages: [{}] },
    { prompt: 7 },
    { prompt: [1, 2] },
  ])
    assert.equal(assign(canary, caller, body), assign(canary, caller, body));
});
