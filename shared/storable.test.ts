import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseShallowJson } from './storable.ts';

const nest = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

test('a value that nests 32 levels deep is parsed, one more is refused with the name of its field', () => {
  const text = `{"a": "[", "b": ${nest(31)}, "c": "\\\\"}`;
  assert.deepEqual(parseShallowJson(text), JSON.parse(text));
  assert.throws(() => parseShallowJson(`{"a": {"x": 1}, "b\\"": ${nest(32)}}`), { param: 'b"', code: 'unstorable' });
  assert.throws(() => parseShallowJson(`["a", ${nest(32)}]`), { param: null, code: 'unstorable' });
});

test('brackets inside strings are no nesting', () => {
  for (const string of ['['.repeat(100), `${'['.repeat(50)}"`, `\\"${'{'.repeat(50)}\\`, '\\', '"'.repeat(50)])
    assert.deepEqual(parseShallowJson(JSON.stringify({ [string]: [string] })), { [string]: [string] });
});

test('what is no JSON is a SyntaxError', () => {
  for (const text of ['', '{', '"', '"\\"', '{"a', ']]]]', '{"a": "b}', `"\\q${'"['.repeat(10)}`])
    assert.throws(() => parseShallowJson(text), SyntaxError, text);
});

test('a megabyte of brackets that nothing closes is refused', () => {
  assert.throws(() => parseShallowJson('['.repeat(2 ** 20)), { code: 'unstorable' });
});
