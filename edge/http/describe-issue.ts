// What is wrong with a field and how to mend it, in words, where its schema has no message of its own.

import type { z } from '@hono/zod-openapi';

type Issue = Parameters<z.core.$ZodErrorMap>[0];

const TYPES: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'a boolean (true or false)',
  array: 'an array',
  object: 'an object',
  record: 'an object',
};

/** Undefined: zod's own words. */
export function describeIssue(issue: Issue): string | undefined {
  const advice = advise(issue);
  if (issue.input !== undefined) return advice;
  return advice ? `is missing; ${advice}` : 'is missing';
}

function advise(issue: Issue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return `give ${nameType(issue.expected)}`;
    case 'invalid_value':
      return `give ${listValues(issue.values)}`;
    case 'too_small':
      return adviseMore(issue);
    case 'too_big':
      return adviseLess(issue);
    case 'invalid_union':
      return adviseUnion(issue);
    default:
      return undefined;
  }
}

function adviseMore({ origin, minimum, inclusive }: Extract<Issue, { code: 'too_small' }>): string {
  if (origin === 'string') return minimum === 1 ? 'is empty' : `give at least ${minimum} characters`;
  if (origin === 'array') return `give at least ${minimum}`;
  return `give a number ${inclusive ? `of ${minimum} or more` : `above ${minimum}`}`;
}

function adviseLess({ origin, maximum, inclusive }: Extract<Issue, { code: 'too_big' }>): string {
  if (origin === 'string') return `is longer than ${maximum} characters; shorten it`;
  if (origin === 'array') return `give at most ${maximum}`;
  return `give a number ${inclusive ? `of ${maximum} or less` : `below ${maximum}`}`;
}

function adviseUnion({ errors, options }: Extract<Issue, { code: 'invalid_union' }>): string | undefined {
  if (Array.isArray(options)) return `give ${listValues(options)}`;
  const expected = errors.map(([first]) => (first?.code === 'invalid_type' ? nameType(first.expected) : null));
  return expected.length > 0 && expected.every((type) => type !== null) ? `give ${expected.join(' or ')}` : undefined;
}

function listValues(values: readonly unknown[]): string {
  return `${values.length > 1 ? 'one of ' : ''}${values.map(String).join(', ')}`;
}

function nameType(expected: string): string {
  return TYPES[expected] ?? expected;
}
