import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { AttuneError } from './error.ts';
import { describeError, summarizeError } from './error-description.ts';

const SECRET = 'Zanzibar';

const thrownBy = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
};

/** As drizzle's: the message has SQL and parameters, and lines that look like frames. */
class QueryError extends Error {
  query = `insert into t values ('${SECRET}')`;
  constructor(cause: Error) {
    super(`Failed query: insert\nparams: ${SECRET}\n    at ${SECRET} (file.ts:1:1)`, { cause });
  }
}

class PostgresError extends Error {
  severity = 'ERROR';
  code = '22P02';
  table_name = 'preferences';
}

test('errors that quote their input keep their type, code and frames', () => {
  const errors = [
    new QueryError(new PostgresError(`invalid input syntax: "${SECRET}"`)),
    thrownBy(() => JSON.parse(SECRET)),
    thrownBy(() => z.enum(['a']).parse(SECRET)),
    thrownBy(() => z.strictObject({}).parse({ [SECRET]: 1 })),
    SECRET,
  ];
  for (const error of errors) {
    assert.doesNotMatch(JSON.stringify(describeError(error)), new RegExp(SECRET), String(error));
    assert.doesNotMatch(summarizeError(error), new RegExp(SECRET));
  }
  const { type, stack, cause } = describeError(errors[0]);
  assert.equal(type, 'QueryError');
  assert.match(stack!, /error-description\.test\.ts/);
  assert.deepEqual([cause!.code, cause!.table], ['22P02', 'preferences']);
  assert.equal(summarizeError(errors[0]), 'QueryError: PostgresError 22P02');
});

test('other errors keep their message', () => {
  const { message, stack } = describeError(new TypeError('x is not a function'));
  assert.equal(message, 'x is not a function');
  assert.match(stack!, /^ {4}at /);
  assert.deepEqual(describeError(new AttuneError('import: row 1 is empty')), {
    type: 'AttuneError',
    message: 'import: row 1 is empty',
  });
  assert.equal(summarizeError(new Error('outer', { cause: new Error('inner') })), 'outer: inner');
});
