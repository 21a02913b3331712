import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toPostgresAnswer } from './postgres-errors.ts';
import { StatementError, toStatementError } from './statement-error.ts';

/** As PgBouncer writes it: without the field of the protocol that becomes `severity`. */
const lostByPooler = Object.assign(new Error('server conn crashed?'), { severity_local: 'FATAL', code: '08P01' });
const refused = Object.assign(new Error('deadlock detected'), { severity: 'ERROR', code: '40P01' });

test('a pooler that has lost its connection to Postgres does not know either whether COMMIT was done', () => {
  for (const effect of ['none', 'not_stored', 'unknown'] as const) {
    const error = toStatementError(lostByPooler, effect);
    assert.ok(error instanceof StatementError);
    assert.equal(error.effect, effect);
  }
  assert.equal(toPostgresAnswer(toStatementError(lostByPooler, 'unknown'))?.code, 'postgres_outcome_unknown');
  assert.equal(toPostgresAnswer(toStatementError(lostByPooler, 'not_stored'))?.code, 'postgres_unavailable');
});

test('an error of Postgres itself has rolled back', () => {
  assert.equal((toStatementError(refused, 'unknown') as StatementError).effect, 'not_stored');
});
