import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairQueue } from './fair-queue.ts';

function shiftAll(queue: FairQueue<string>): string[] {
  const items: string[] = [];
  for (let next = queue.peek(); next !== undefined; next = queue.peek()) {
    assert.equal(queue.shift(), next);
    items.push(next);
  }
  assert.equal(queue.shift(), undefined);
  assert.equal(queue.size, 0);
  return items;
}

function makeQueue(entries: string[]): FairQueue<string> {
  const queue = new FairQueue<string>();
  for (const entry of entries) queue.push(entry[0]!, entry);
  return queue;
}

test('tenants take turns, and each tenant keeps its order', () => {
  assert.deepEqual(shiftAll(makeQueue(['a1', 'a2', 'a3', 'b1', 'c1', 'c2'])), ['a1', 'b1', 'c1', 'a2', 'c2', 'a3']);
});

test('a tenant that returns is queued behind the others', () => {
  const queue = makeQueue(['a1', 'b1', 'c1']);
  assert.equal(queue.shift(), 'a1');
  queue.push('a', 'a2');
  assert.deepEqual(shiftAll(queue), ['b1', 'c1', 'a2']);
});

test('the next item stays next until it is shifted', () => {
  const queue = makeQueue(['a1', 'a2']);
  assert.equal(queue.peek(), 'a1');
  queue.push('b', 'b1');
  assert.equal(queue.peek(), 'a1');
  assert.equal(queue.size, 3);
});

test('removed items do not count and are skipped', () => {
  const queue = makeQueue(['a1', 'a2', 'b1', 'b2', 'c1']);
  queue.remove((entry) => entry === 'a1' || entry[0] === 'b');
  assert.equal(queue.size, 2);
  assert.deepEqual(shiftAll(queue), ['a2', 'c1']);
});

test('a tenant that is not eligible is passed over and keeps its turn', () => {
  const queue = makeQueue(['a1', 'a2', 'b1', 'c1']);
  const notA = (tenant: string) => tenant !== 'a';
  assert.equal(queue.peek(notA), 'b1');
  assert.equal(queue.shift(notA), 'b1');
  assert.equal(
    queue.shift(() => false),
    undefined,
  );
  assert.deepEqual(shiftAll(queue), ['a1', 'c1', 'a2']);
});
