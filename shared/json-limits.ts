// What Postgres can hold of a JSON value. It takes neither NUL nor half a surrogate pair in a text, and what nests
// thousands of levels deep overflows the stack of whoever writes it down: both are refused where they come in.

import { AttuneError } from './error.ts';

const MOST_LEVELS = 32;

/** Throws an AttuneError that names the field. */
export function refuseUnstorable(value: unknown): void {
  refuse(value, [], MOST_LEVELS);
}

function refuse(value: unknown, path: (string | number)[], levels: number): void {
  if (typeof value === 'string') {
    if (value.includes('\0')) throw unstorable(path, 'holds a NUL character; remove it');
    if (!value.isWellFormed()) throw unstorable(path, 'holds half a surrogate pair; remove it');
  } else if (value !== null && typeof value === 'object') {
    if (levels === 0) throw unstorable(path.slice(0, 1), `nests deeper than ${MOST_LEVELS} levels; flatten it`);
    for (const [key, child] of Object.entries(value)) {
      refuse(key, path.length === 0 ? ['a key'] : path, levels);
      refuse(child, [...path, key], levels - 1);
    }
  }
}

function unstorable(path: (string | number)[], problem: string): AttuneError {
  const param = path.join('.');
  return new AttuneError(`${param || 'it'} ${problem}`, { param: param || null, code: 'unstorable' });
}
