// Turns a thrown error into a response: OpenAI's error shape, the status, and the headers that control the retries of
// OpenAI's clients. An error that is not an AttuneError hides its details from the client.

import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { AttuneError } from '../../shared/error.ts';
import { OUTCOME_UNKNOWN, toPostgresAnswer } from '../../shared/postgres-errors.ts';
import type { RequestRecord } from './request-record.ts';

export type ErrorBody = { error: { message: string; type: string; param: string | null; code: string | null } };

const nullableString = { type: ['string', 'null'] as ('string' | 'null')[] };

/** ErrorBody as JSON Schema, for the OpenAPI document. */
export const errorSchema = {
  type: 'object' as const,
  required: ['error'],
  properties: {
    error: {
      type: 'object' as const,
      required: ['message', 'type', 'param', 'code'],
      properties: {
        message: { type: 'string' as const },
        type: { type: 'string' as const },
        param: nullableString,
        code: nullableString,
      },
    },
  },
};

const TYPES: Record<number, string> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  409: 'conflict_error',
  429: 'rate_limit_error',
};

/** The thrown error as an AttuneError, which hides what went wrong in one of our own bugs. */
export function toAttuneError(error: unknown): AttuneError {
  if (error instanceof AttuneError) return error;
  const answer = toPostgresAnswer(error);
  if (answer) return answer;
  if (error instanceof HTTPException)
    return new AttuneError(error.message || 'the request was rejected', { status: error.status });
  return new AttuneError('internal: unexpected error; see the server log', { status: 500, code: 'internal_error' });
}

export function toErrorBody(error: AttuneError): ErrorBody {
  const type = TYPES[error.status] ?? (error.status >= 500 ? 'server_error' : 'invalid_request_error');
  return { error: { message: error.message, type, param: error.param, code: error.code } };
}

/** As toAttuneError; the request's log line has the code, and the details of a bug. */
export function recordFailure(record: RequestRecord | undefined, thrown: unknown): AttuneError {
  const error = toAttuneError(thrown);
  if (record) record.failure = { code: error.code, status: error.status, thrown };
  return error;
}

export function toErrorResponse(context: Context, thrown: unknown): Response {
  const error = recordFailure(context.get('record'), thrown);
  // Without a key, a retry of a write that was stored would store it twice.
  const isSafe = error.code !== OUTCOME_UNKNOWN || context.get('idempotentRequest') !== undefined;
  const retry = error.retry && isSafe;
  const headers: Record<string, string> = { 'x-should-retry': String(retry) };
  // What a client should not repeat by itself may still be sent again at a known time.
  if (retry || error.status === 429) {
    headers['retry-after'] = String(Math.ceil(error.retryAfterMs / 1000));
    headers['retry-after-ms'] = String(Math.ceil(error.retryAfterMs));
  }
  // The unread rest of the body would be parsed as the next request on this connection.
  if (error.status === 413 || error.status === 408) headers.connection = 'close';
  return context.json(toErrorBody(error), error.status as 400, headers);
}

/** `param`: the request field that contains the id. */
export function notFound(kind: string, id: string, param = 'id'): AttuneError {
  return new AttuneError(`there is no ${kind} ${id}`, { status: 404, param, code: 'not_found' });
}
