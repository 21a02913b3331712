import type { MiddlewareHandler } from 'hono';

/** Adds the request's id to responses that a handler constructs without the context, such as streams. */
export const sendRequestId: MiddlewareHandler = async (context, next) => {
  await next();
  if (!context.res.headers.has('x-request-id')) context.header('x-request-id', context.get('requestId'));
};
