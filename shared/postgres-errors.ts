// Classifies the errors of postgres.js and drizzle, whose causes nest.

import { AttuneError } from './error.ts';

const UNREACHABLE_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECT_TIMEOUT',
  'CONNECTION_DESTROYED',
  'ENOTFOUND',
  'EPIPE',
]);
/**
 * SQLSTATE classes of Postgres: 08 connection, 57P admin shutdown and crash, 53 out of resources. Hyperdrive reports 58000
 * when its pool is full or the origin refuses.
 */
const UNREACHABLE_STATE = /^(08|57P|53|58000$)/;
/** Errors of workerd's sockets have no code. */
const UNREACHABLE_MESSAGE = /^(connection attempt failed|Network connection lost|proxy request failed)/;

/** Whether Postgres cannot be reached or cannot accept work now. */
export function isUnreachable(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = (at as { code?: unknown }).code;
    if (typeof code === 'string' && (UNREACHABLE_CODES.has(code) || UNREACHABLE_STATE.test(code))) return true;
    if (UNREACHABLE_MESSAGE.test(at.message)) return true;
    if (at instanceof AggregateError && at.errors.some(isUnreachable)) return true;
  }
  return false;
}

/** Whether a unique index or primary key was violated (SQLSTATE 23505). */
export function isUniqueViolation(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if ((at as { code?: unknown }).code === '23505') return true;
  return false;
}

export function postgresUnavailable(): AttuneError {
  return new AttuneError('Postgres cannot be reached; nothing was stored; retry later', {
    status: 503,
    code: 'postgres_unavailable',
  });
}

/**
 * Keeps the process alive through one fault of postgres.js 3.4.9: a transaction whose connection died is rolled back on
 * a socket that is gone, and the write throws outside any promise. The transaction was rejected before, so nothing is
 * lost; but that connection of the pool stays dead, and each use of it times out, until the process restarts. Every
 * other uncaught error still ends the process.
 */
export function surviveDriverFault(): void {
  process.on('uncaughtException', (error) => {
    if (isDriverFault(error)) return;
    console.error('attune: internal:', error);
    process.exit(1);
  });
}

function isDriverFault(error: unknown): boolean {
  return (
    error instanceof TypeError &&
    error.message === "Cannot read properties of null (reading 'write')" &&
    /at (Immediate\.)?nextWrite .*postgres/.test(error.stack ?? '')
  );
}
