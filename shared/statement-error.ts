// The error of a failed statement, without its SQL and its parameters, which contain prompts: logs and responses may show
// it. It states what is known about the write: whether something may have been stored.

import type { PostgresError } from 'postgres';

/** `none`: the statement was a read. `unknown`: the connection was lost after Postgres may have committed. */
export type Effect = 'none' | 'not_stored' | 'unknown';

/** `code`: Postgres's SQLSTATE, or the name of a failure of the connection. */
export class StatementError extends Error {
  override name = 'StatementError';
  readonly code: string;
  readonly effect: Effect;

  constructor(code: string, message: string, effect: Effect) {
    super(message);
    this.code = code;
    this.effect = effect;
  }
}

/** Failures of the connection by the names of the driver, of Node's sockets and of its certificate checks. */
const CONNECTION_CODE =
  /^(CONNECTION_[A-Z]+|CONNECT_TIMEOUT|STATEMENT_TIMEOUT|SASL_.*|ECONN[A-Z]+|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ERR_(STREAM|SSL|TLS)_.*|.*CERT.*|UNABLE_TO_.*)$/;
/** Errors of workerd's sockets have no code. */
const CONNECTION_MESSAGE =
  /^(connection attempt failed|Network connection lost|proxy request failed|Stream was cancelled)/;

/**
 * Whether Postgres or a pooler answered with this error; PgBouncer writes only `severity_local`. Without importing the
 * driver, which other users of this file lack.
 */
export function isPostgresError(error: unknown): error is PostgresError {
  return error instanceof Error && ('severity' in error || 'severity_local' in error);
}

/**
 * SQLSTATEs that end a connection. A pooler answers with them if it has lost its own one to Postgres, maybe after the
 * statement took effect: PgBouncer with 08P01, Hyperdrive with 58000.
 */
const LOST_STATE = /^(08|57P|58000$)/;

export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error) || isPostgresError(error)) return false;
  const { code } = error as { code?: unknown };
  return (typeof code === 'string' && CONNECTION_CODE.test(code)) || CONNECTION_MESSAGE.test(error.message);
}

export function connectionError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/** `effect`: what the statement may have done if its connection was lost. */
export function toStatementError(error: unknown, effect: Effect): unknown {
  if (isPostgresError(error)) {
    // Otherwise Postgres itself has answered, so the statement and its transaction were rolled back.
    const isLost = LOST_STATE.test(error.code);
    return new StatementError(error.code, describe(error), effect === 'none' || isLost ? effect : 'not_stored');
  }
  if (isConnectionError(error)) {
    const { code = 'CONNECTION_CLOSED', message } = error as Error & { code?: string };
    return new StatementError(code, message, effect);
  }
  return error;
}

/** Messages about invalid data (class 22) quote the data. `detail` and `where` quote whole rows and are left out. */
function describe({ code, message, constraint_name, table_name }: PostgresError): string {
  if (code.startsWith('22')) return `invalid data (SQLSTATE ${code})`;
  const place = constraint_name ?? table_name;
  return `${message} (SQLSTATE ${code}${place && !message.includes(place) ? `, ${place}` : ''})`;
}
