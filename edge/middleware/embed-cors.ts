// Which pages may send an embed token. A browser asks before it sends one (a preflight), and that question carries no token, so
// it cannot depend on what the token names. It is therefore answered for every origin, on the few paths that take such tokens,
// if the page is going to send an Authorization header and nothing ambient: credentials are not allowed, so that neither cookies
// nor anything else of the browser's goes along, and a page can send only what it was given. The request itself is refused if its
// token names another origin, and only the named origin may read the response. Pages of CORS_ORIGINS may call everything anyway.

import type { Context, MiddlewareHandler } from 'hono';
import { AttuneError } from '../../shared/error.ts';

const ALLOWED_METHODS = 'GET, POST, DELETE';
const ALLOWED_HEADERS = 'authorization, content-type, idempotency-key';
const MAX_AGE_SECONDS = '600';

/** What a page may read besides the body. */
export const EXPOSED_HEADERS = ['x-request-id', 'retry-after', 'x-should-retry', 'idempotent-replayed'];

/** Comes before CORS_ORIGINS, which does not know these origins. */
export function answerPreflight(allowedOrigins: readonly string[] = []): MiddlewareHandler {
  return async (context, next) => {
    const origin = context.req.header('origin');
    const headers = context.req.header('access-control-request-headers')?.toLowerCase().split(/ *, */) ?? [];
    if (origin === undefined || allowedOrigins.includes(origin) || !headers.includes('authorization')) return next();
    context.header('access-control-allow-origin', origin);
    context.header('access-control-allow-methods', ALLOWED_METHODS);
    context.header('access-control-allow-headers', ALLOWED_HEADERS);
    context.header('access-control-max-age', MAX_AGE_SECONDS);
    context.header('vary', 'Origin, Access-Control-Request-Headers');
    return context.body(null, 204);
  };
}

/** Lets the page that a signed token names read the response, also that the token has expired. */
export function allowOrigin(context: Context, named: string | null): void {
  if (named === null || context.req.header('origin') !== named) return;
  context.header('access-control-allow-origin', named);
  context.header('access-control-expose-headers', EXPOSED_HEADERS.join(','));
  context.header('vary', 'Origin', { append: true });
}

/** Throws a 403 if a page of another origin than the named one has sent the token. */
export function assertOrigin(context: Context, named: string | null, allowedOrigins: readonly string[] = []): void {
  const origin = context.req.header('origin');
  if (named === null || origin === undefined || origin === named || allowedOrigins.includes(origin)) return;
  throw new AttuneError(
    `Origin is ${JSON.stringify(origin.slice(0, 200))}, and the embed token is for pages of ${named}; have your backend make ` +
      'one for this origin',
    { status: 403, code: 'foreign_origin', retry: false },
  );
}
