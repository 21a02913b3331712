// API keys, and the caller that a request belongs to: the queue, rate limits, idempotency keys and logs all name it by the
// same id. The `user` field does not count: a client could gain turns in the queue by inventing users.

import type { Context, MiddlewareHandler } from 'hono';
import { bearerAuth } from 'hono/bearer-auth';
import { sha256 } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import type { RequestRecord } from '../http/request-record.ts';

declare module 'hono' {
  interface ContextVariableMap {
    callerId: string | undefined;
  }
}

/** The caller where no keys are configured. */
export const ANONYMOUS = 'anonymous';

/** The tenant that a generation is queued for, the signal that cancels it, and the record that reports it. */
export type Caller = { tenant: string; signal: AbortSignal; record: RequestRecord };

export function getCaller(context: Context): Caller {
  return { tenant: getCallerId(context), signal: context.req.raw.signal, record: context.get('record') };
}

/** Stable when keys are added or reordered, the same in every process, and safe to log. */
export function getCallerId(context: Context): string {
  return context.get('callerId') ?? ANONYMOUS;
}

/** 48 bits tell the keys of a server apart. */
function toCallerId(digest: string): string {
  return `key_${digest.slice(0, 12)}`;
}

/** Accepts a request with any of the keys. */
export function requireApiKey(keys: string[]): MiddlewareHandler {
  // Compared by hash, so that the duration of the comparison reveals nothing about a key.
  const digests = new Set(keys.map(sha256));
  const throwUnauthorized = () => {
    throw new AttuneError('missing or invalid API key; send `authorization: Bearer …` with a key from API_KEY', {
      status: 401,
      code: 'invalid_api_key',
      retry: false,
    });
  };
  return bearerAuth({
    verifyToken(token, context) {
      const digest = sha256(token);
      if (digests.has(digest)) context.set('callerId', toCallerId(digest));
      return digests.has(digest);
    },
    noAuthenticationHeader: { message: throwUnauthorized },
    invalidAuthenticationHeader: { message: throwUnauthorized },
    invalidToken: { message: throwUnauthorized },
  });
}
