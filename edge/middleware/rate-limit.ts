// Limits how often one caller may send requests: the tenant of its key or, without keys, the address that Cloudflare
// reports. The port counts; this middleware rejects before the body is read.

import type { Context, MiddlewareHandler } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { toErrorResponse } from '../http/errors.ts';

/** The port does not report when its window ends; with a window of one minute, this is soon enough. */
const RETRY_AFTER_SECONDS = 10;

export function limitRate(isWithinRateLimit: (caller: string) => Promise<boolean>): MiddlewareHandler {
  return async (context, next) => {
    if (await isWithinRateLimit(identifyCaller(context))) return next();
    const response = toErrorResponse(
      context,
      new AttuneError(`too many requests from this caller; send fewer, or wait ${RETRY_AFTER_SECONDS} seconds`, {
        status: 429,
        code: 'rate_limit_exceeded',
        retry: true,
      }),
    );
    response.headers.set('retry-after', `${RETRY_AFTER_SECONDS}`);
    response.headers.set('retry-after-ms', `${RETRY_AFTER_SECONDS * 1000}`);
    return response;
  };
}

function identifyCaller(context: Context): string {
  return context.get('callerId') ?? context.req.header('cf-connecting-ip') ?? 'unknown';
}
