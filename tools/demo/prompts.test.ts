import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fullPlan } from './plan.ts';
import { takePrompts, writePrompts } from './prompts.ts';

const nameOf = (prompt: string) => /named (\w+)\./.exec(prompt)![1]!;

test('prompts are distinct, filled in, and enough for the full plan', () => {
  const { voting, evaluation } = writePrompts(1);
  assert.equal(new Set([...voting, ...evaluation]).size, voting.length + evaluation.length);
  assert.ok([...voting, ...evaluation].every((prompt) => !/[{}]/.test(prompt)));
  assert.ok(voting.length >= fullPlan.rounds * fullPlan.comparisons, `${voting.length} voting prompts`);
  assert.ok(evaluation.length >= fullPlan.evaluationPrompts, `${evaluation.length} evaluation prompts`);
});

test('no child of an evaluation prompt appears in a prompt that is voted on', () => {
  const { voting, evaluation } = writePrompts(7);
  const voted = new Set(voting.map(nameOf));
  assert.deepEqual(
    evaluation.filter((prompt) => voted.has(nameOf(prompt))),
    [],
  );
});

test('the same seed writes the same prompts', () => {
  assert.deepEqual(writePrompts(3), writePrompts(3));
  assert.notDeepEqual(writePrompts(3), writePrompts(4));
});

test('asking for more prompts than there are says how many there are', () => {
  assert.throws(() => takePrompts(['x', 'y'], 1, 2), /3 prompts are asked for and there are 2/);
});
