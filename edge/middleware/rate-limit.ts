// How often one caller may ask. Who asks is the tenant of the key; where there are no keys, the address that Cloudflare
// says. What counts is the port: this only asks it, and refuses before a body is read.

import type { Context, MiddlewareHandler } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { toErrorResponse } from '../http/errors.ts';

/** Seconds. Who counts does not say when there is room again; within a window of a minute this is soon enough. */
const RETRY_AFTER = 10;

export function limitRate(admit: (caller: string) => Promise<boolean>): MiddlewareHandler {
  return async (context, next) => {
    if (await admit(nameCaller(context))) return next();
    const refused = toErrorResponse(
      context,
      new AttuneError(`too many requests from this caller; send fewer, or wait ${RETRY_AFTER} seconds`, {
        status: 429,
        code: 'rate_limit_exceeded',
        retry: true,
      }),
    );
    refused.headers.set('retry-after', `${RETRY_AFTER}`);
    refused.headers.set('retry-after-ms', `${RETRY_AFTER * 1000}`);
    return refused;
  };
}

function nameCaller(context: Context): string {
  return context.get('tenant') ?? context.req.header('cf-connecting-ip') ?? 'unknown';
}
