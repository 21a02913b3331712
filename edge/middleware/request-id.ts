// An id for every request: the client's own x-request-id, or a new one. OpenAI's clients include it in their errors.

import type { MiddlewareHandler } from 'hono';
import { requestId } from 'hono/request-id';
import { newId } from '../../shared/id.ts';

export const assignRequestId = requestId({ generator: () => newId('req_') });

/** Adds the id to responses that a handler constructs without the context, such as streams. */
export const sendRequestId: MiddlewareHandler = async (context, next) => {
  await next();
  if (!context.res.headers.has('x-request-id')) context.header('x-request-id', context.get('requestId'));
};
