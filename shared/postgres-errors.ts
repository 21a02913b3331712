// What a failure of Postgres means to a client: each SQLSTATE that can reach one, and a lost connection, as an answer that
// says truthfully whether something was stored. Errors of other drivers (pg-boss uses `pg`) are classified too.

import { AttuneError } from './error.ts';
import { isConnectionError, StatementError } from './statement-error.ts';

type Answer = { code: string; problem: string; advice: string; retry: boolean };

const UNREACHABLE: Answer = {
  code: 'postgres_unavailable',
  problem: 'Postgres cannot be reached',
  advice: 'retry later',
  retry: true,
};
const CONFLICT: Answer = {
  code: 'postgres_conflict',
  problem: 'a concurrent request changed the same rows in Postgres',
  advice: 'retry',
  retry: true,
};

/** By SQLSTATE. The status is 503: the request was valid, and can succeed once Postgres can do it. */
const ANSWERS: Record<string, Answer> = {
  '25006': {
    code: 'postgres_read_only',
    problem: 'Postgres is read-only',
    advice: 'retry once a writable server has taken over',
    retry: true,
  },
  '40001': CONFLICT,
  '40P01': CONFLICT,
  '55P03': {
    code: 'postgres_lock_timeout',
    problem: 'another transaction in Postgres holds a lock for too long',
    advice: 'retry later',
    retry: true,
  },
  '57014': {
    code: 'postgres_statement_timeout',
    problem: 'Postgres cancelled a statement that took too long',
    advice: 'retry later',
    retry: true,
  },
  '53100': {
    code: 'postgres_disk_full',
    problem: 'the disk of Postgres is full',
    advice: 'an operator must free some of it',
    retry: false,
  },
  '53200': { ...UNREACHABLE, problem: 'Postgres is out of memory' },
  '53300': {
    code: 'postgres_too_many_connections',
    problem: 'Postgres has no connection left',
    advice: 'retry later',
    retry: true,
  },
};

/**
 * SQLSTATE classes of Postgres: 08 connection, 57P admin shutdown and crash, 53 out of resources. Hyperdrive reports 58000
 * when its pool is full or the origin refuses.
 */
const UNREACHABLE_STATE = /^(08|57P|53|58000$)/;

/** The answer to a request that failed with this error; null if Postgres is not the cause, or our SQL is wrong. */
export function toPostgresAnswer(error: unknown): AttuneError | null {
  if (!(error instanceof StatementError)) return null;
  if (error.effect === 'unknown') return outcomeUnknown();
  const answer = ANSWERS[error.code] ?? (isUnreachable(error) ? UNREACHABLE : null);
  if (!answer) return null;
  const { code, problem, advice, retry } = answer;
  const effect = error.effect === 'not_stored' ? 'nothing was stored; ' : '';
  return new AttuneError(`${problem}; ${effect}${advice}`, { status: 503, code, retry });
}

/** For a write that Postgres has not acknowledged. Clients may retry by themselves only with an Idempotency-Key. */
export function outcomeUnknown(): AttuneError {
  return new AttuneError(
    'Postgres did not acknowledge the write: it is not known whether it was stored; repeat with the same Idempotency-Key, or check before you repeat without one',
    { status: 503, code: OUTCOME_UNKNOWN },
  );
}

export const OUTCOME_UNKNOWN = 'postgres_outcome_unknown';

/** Whether Postgres cannot be reached or cannot accept work now. */
export function isUnreachable(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = (at as { code?: unknown }).code;
    if (typeof code === 'string' && UNREACHABLE_STATE.test(code)) return true;
    if (isConnectionError(at)) return true;
    if (at instanceof AggregateError && at.errors.some(isUnreachable)) return true;
  }
  return false;
}

/** Whether a unique index or primary key was violated (SQLSTATE 23505). */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof StatementError && error.code === '23505';
}
