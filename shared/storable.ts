// Rejects JSON values that Postgres cannot store (NUL, unpaired surrogates), that validation would drop silently (a key
// __proto__), or that nest deeply enough to overflow the stack of a serializer. Every value from outside passes here first.

import { AttuneError } from './error.ts';

const MAX_DEPTH = 32;

/** Throws an AttuneError that names the field. */
export function assertStorable(value: unknown): void {
  check(value, [], MAX_DEPTH);
}

function check(value: unknown, path: (string | number)[], depthLeft: number): void {
  if (typeof value === 'string') {
    if (value.includes('\0')) throw unstorable(path, 'contains a NUL character; remove it');
    if (!value.isWellFormed()) throw unstorable(path, 'contains an unpaired surrogate; remove it');
  } else if (value !== null && typeof value === 'object') {
    if (depthLeft === 0) throw unstorable(path.slice(0, 1), `nests deeper than ${MAX_DEPTH} levels; flatten it`);
    for (const [key, child] of Object.entries(value)) {
      check(key, path.length === 0 ? ['a key'] : path, depthLeft);
      if (key === '__proto__') throw unstorable([...path, key], 'is no name for a field; rename it');
      check(child, [...path, key], depthLeft - 1);
    }
  }
}

function unstorable(path: (string | number)[], problem: string): AttuneError {
  const param = path.join('.');
  return new AttuneError(`${param || 'the value'} ${problem}`, { param: param || null, code: 'unstorable' });
}
