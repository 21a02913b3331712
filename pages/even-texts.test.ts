import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cutEvenly } from './even-texts.ts';

test('while both are written, as many pieces of each are shown', () => {
  assert.deepEqual(cutEvenly({ a: ['1'], b: [] }), { a: '', b: '' });
  assert.deepEqual(cutEvenly({ a: ['1', ' 2'], b: ['x'] }), { a: '1', b: 'x' });
  assert.deepEqual(cutEvenly({ a: ['1', ' 2'], b: ['x', ' y'] }), { a: '1 2', b: 'x y' });
});

test('a side goes on alone once the other has ended', () => {
  assert.deepEqual(cutEvenly({ a: ['1', '2', '3'], b: ['x'] }), { a: '123', b: 'x' });
});
