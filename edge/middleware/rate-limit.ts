// Limits how often one caller may send requests, and reports the limits in headers. The port counts; this middleware rejects
// before the body is read.

import type { MiddlewareHandler } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { toErrorResponse } from '../http/errors.ts';
import type { Ports, RateLimits } from '../ports.ts';
import { getClientId } from './auth.ts';

export function limitRate(limits: RateLimits, getAddress: Ports['getAddress']): MiddlewareHandler {
  return async (context, next) => {
    const { limits: own } = context.get('identity') ?? {};
    const caller = { id: getClientId(context), address: getAddress(context), limits: own };
    try {
      await limits.countRequest(caller);
    } catch (error) {
      context.res = toErrorResponse(context, error);
    }
    if (!context.finalized) await next();
    for (const [name, value] of Object.entries(await limits.listHeaders(caller))) context.header(name, value);
  };
}

/** `perMinute`: the limit; null: it is not known here. */
export function tooMany(kind: 'requests' | 'tokens', perMinute: number | null, retryAfterMs: number): AttuneError {
  const seconds = Math.ceil(retryAfterMs / 1000);
  const limit = perMinute === null ? '' : `, which has ${perMinute} per minute`;
  return new AttuneError(`too many ${kind} from this caller${limit}; send fewer, or wait ${seconds} seconds`, {
    status: 429,
    code: 'rate_limit_exceeded',
    retry: true,
    retryAfterMs,
  });
}
