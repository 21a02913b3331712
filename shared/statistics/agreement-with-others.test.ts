import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agreesWithOthers } from './agreement-with-others.ts';

test('a vote is compared with the majority of the others, without itself', () => {
  assert.equal(agreesWithOthers({ a: 2, b: 1, tie: 0 }, 'a'), null);
  assert.equal(agreesWithOthers({ a: 2, b: 1, tie: 0 }, 'b'), false);
  assert.equal(agreesWithOthers({ a: 3, b: 1, tie: 0 }, 'a'), true);
  assert.equal(agreesWithOthers({ a: 0, b: 0, tie: 2 }, 'tie'), true);
});

test('without others, or with a draw among them, there is no majority', () => {
  assert.equal(agreesWithOthers({ a: 1, b: 0 }, 'a'), null);
  assert.equal(agreesWithOthers({ a: 1, b: 1, tie: 1 }, 'a'), null);
});
