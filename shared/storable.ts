// Parses JSON from outside, and rejects what nests deeply enough to overflow the stack of a serializer, what Postgres cannot
// store (NUL, unpaired surrogates) and what validation would drop silently (a key __proto__).

import { AttuneError } from './error.ts';

const MAX_DEPTH = 32;
const [QUOTE, BACKSLASH, OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [34, 92, 91, 93, 123, 125];

/**
 * JSON.parse, but refuses deep nesting from the text: parsing a megabyte of brackets takes tens of times as long as
 * parsing a megabyte of text. Throws an AttuneError, or JSON.parse's SyntaxError.
 */
export function parseShallowJson(text: string): unknown {
  let depth = 0;
  // The last string on the first level; in an object, where a value begins, its key.
  let field = '';
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) {
      const end = findStringEnd(text, at);
      if (depth === 1) field = text.slice(at, end + 1);
      at = end;
    } else if (char === OPEN_BRACE || char === OPEN_BRACKET) {
      if (++depth > MAX_DEPTH) {
        const isObject = text.trimStart().startsWith('{');
        throw unstorable(
          isObject && field ? [JSON.parse(field)] : [],
          `nests deeper than ${MAX_DEPTH} levels; flatten it`,
        );
      }
    } else if (char === CLOSE_BRACE || char === CLOSE_BRACKET) depth--;
  }
  return JSON.parse(text);
}

/** Where the string that begins at `start` ends; the text's length if it does not. */
function findStringEnd(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text.charCodeAt(before - 1) === BACKSLASH) before--;
    if ((end - before) % 2 === 0) return end;
  }
  return text.length;
}

/** Takes a value of parseShallowJson. Throws an AttuneError that names the field. */
export function assertStorable(value: unknown): void {
  check(value, []);
}

function check(value: unknown, path: string[]): void {
  if (typeof value === 'string') {
    if (value.includes('\0')) throw unstorable(path, 'contains a NUL character; remove it');
    if (!value.isWellFormed()) throw unstorable(path, 'contains an unpaired surrogate; remove it');
  } else if (value !== null && typeof value === 'object') {
    for (const [key, child] of Object.entries(value)) {
      check(key, path.length === 0 ? ['a key'] : path);
      path.push(key);
      if (key === '__proto__') throw unstorable(path, 'is no name for a field; rename it');
      check(child, path);
      path.pop();
    }
  }
}

function unstorable(path: string[], problem: string): AttuneError {
  const param = path.join('.');
  return new AttuneError(`${param || 'the value'} ${problem}`, { param: param || null, code: 'unstorable' });
}
