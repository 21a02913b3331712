import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fullConfig } from './config.ts';
import { makePrompts, slicePrompts } from './prompts.ts';

const nameOf = (prompt: string) => /named (\w+)\./.exec(prompt)![1]!;

test('prompts are distinct, have no unfilled placeholder, and suffice for the full configuration', () => {
  const { voting, evaluation } = makePrompts(1);
  assert.equal(new Set([...voting, ...evaluation]).size, voting.length + evaluation.length);
  assert.ok([...voting, ...evaluation].every((prompt) => !/[{}]/.test(prompt)));
  assert.ok(voting.length >= fullConfig.rounds * fullConfig.comparisons, `${voting.length} voting prompts`);
  assert.ok(evaluation.length >= fullConfig.evaluationPrompts, `${evaluation.length} evaluation prompts`);
});

test('no name in an evaluation prompt occurs in a voting prompt', () => {
  const { voting, evaluation } = makePrompts(7);
  const voted = new Set(voting.map(nameOf));
  assert.deepEqual(
    evaluation.filter((prompt) => voted.has(nameOf(prompt))),
    [],
  );
});

test('the same seed makes the same prompts', () => {
  assert.deepEqual(makePrompts(3), makePrompts(3));
  assert.notDeepEqual(makePrompts(3), makePrompts(4));
});

test('requesting too many prompts fails with both counts', () => {
  assert.throws(() => slicePrompts(['x', 'y'], 1, 2), /needs 3 prompts, but only 2 exist/);
});
