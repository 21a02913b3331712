import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairQueue } from './fair-queue.ts';

function takeAll(queue: FairQueue<string>): string[] {
  const taken: string[] = [];
  for (let next = queue.peek(); next !== undefined; next = queue.peek()) {
    assert.equal(queue.shift(), next);
    taken.push(next);
  }
  assert.equal(queue.shift(), undefined);
  assert.equal(queue.size, 0);
  return taken;
}

function fill(entries: string[]): FairQueue<string> {
  const queue = new FairQueue<string>();
  for (const entry of entries) queue.push(entry[0]!, entry);
  return queue;
}

test('tenants are served in turn, and each in its order', () => {
  assert.deepEqual(takeAll(fill(['a1', 'a2', 'a3', 'b1', 'c1', 'c2'])), ['a1', 'b1', 'c1', 'a2', 'c2', 'a3']);
});

test('who comes back waits behind those who are there', () => {
  const queue = fill(['a1', 'b1', 'c1']);
  assert.equal(queue.shift(), 'a1');
  queue.push('a', 'a2');
  assert.deepEqual(takeAll(queue), ['b1', 'c1', 'a2']);
});

test('who is next stays it until taken, whoever comes', () => {
  const queue = fill(['a1', 'a2']);
  assert.equal(queue.peek(), 'a1');
  queue.push('b', 'b1');
  assert.equal(queue.peek(), 'a1');
  assert.equal(queue.size, 3);
});

test('what is removed is not waited for', () => {
  const queue = fill(['a1', 'a2', 'b1', 'b2', 'c1']);
  queue.remove((entry) => entry === 'a1' || entry[0] === 'b');
  assert.equal(queue.size, 2);
  assert.deepEqual(takeAll(queue), ['a2', 'c1']);
});
