import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layOut, listAncestors } from './descent.ts';

const node = (id: string, parent: string | null) => ({ id, parent });

test('a line without branches has one lane', () => {
  const { rows, lanes } = layOut([node('c', 'b'), node('b', 'a'), node('a', null)]);
  assert.equal(lanes, 1);
  assert.deepEqual(
    rows.map(({ lane, edges }) => [lane, edges]),
    [
      [0, [{ from: 0, to: 0, child: 'c' }]],
      [0, [{ from: 0, to: 0, child: 'b' }]],
      [0, []],
    ],
  );
});

test('two children of one policy have a lane each, which meet at their parent', () => {
  const { rows, lanes } = layOut([node('c', 'a'), node('b', 'a'), node('a', null)]);
  assert.equal(lanes, 2);
  assert.deepEqual(
    rows.map(({ lane }) => lane),
    [0, 1, 0],
  );
  assert.deepEqual(rows[1]!.edges, [
    { from: 0, to: 0, child: 'c' },
    { from: 1, to: 0, child: 'b' },
  ]);
});

test('a lane is free again once its line has begun, and a parent that is not listed is below', () => {
  const { rows, lanes } = layOut([node('d', null), node('c', 'b'), node('b', 'unlisted')]);
  assert.equal(lanes, 1);
  assert.deepEqual(rows[0]!.edges, []);
  assert.deepEqual(rows[2]!.edges, [{ from: 0, to: 0, child: 'b' }]);
});

test('the ancestors of a policy end where its parent is not listed', () => {
  assert.deepEqual([...listAncestors([node('c', 'b'), node('b', 'a'), node('x', null)], 'c')], ['c', 'b', 'a']);
  assert.equal(listAncestors([], undefined).size, 0);
});
