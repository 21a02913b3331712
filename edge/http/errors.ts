// The one place where what was thrown becomes an answer: OpenAI's error shape, its status, and the headers that tell
// OpenAI's clients whether to try again. An error that is not an AttuneError hides its details from the client.

import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { AttuneError } from '../../shared/error.ts';
import { isUnreachable, postgresUnavailable } from '../../shared/postgres-errors.ts';

export type ErrorBody = { error: { message: string; type: string; param: string | null; code: string | null } };

const TYPES: Record<number, string> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  409: 'conflict_error',
  429: 'rate_limit_error',
};

/** Whatever was thrown, as an AttuneError. Our own bugs are logged here and nowhere else. */
export function toAttuneError(error: unknown): AttuneError {
  if (error instanceof AttuneError) return error;
  if (isUnreachable(error)) return postgresUnavailable();
  if (error instanceof HTTPException)
    return new AttuneError(error.message || 'the request was refused', { status: error.status });
  console.error('internal:', error);
  return new AttuneError('internal: something went wrong on our side', { status: 500, code: 'internal_error' });
}

export function toErrorBody(error: AttuneError): ErrorBody {
  const type = TYPES[error.status] ?? (error.status >= 500 ? 'server_error' : 'invalid_request_error');
  return { error: { message: error.message, type, param: error.param, code: error.code } };
}

export function toErrorResponse(context: Context, thrown: unknown): Response {
  const error = toAttuneError(thrown);
  const headers: Record<string, string> = { 'x-should-retry': String(error.retry) };
  if (error.retry) Object.assign(headers, { 'retry-after': '1', 'retry-after-ms': '1000' });
  // The rest of such a body is not read: a client that sent its next request behind it would lose that one.
  if (error.status === 413 || error.status === 408) headers.connection = 'close';
  return context.json(toErrorBody(error), error.status as 400, headers);
}
