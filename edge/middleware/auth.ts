// API keys, and the tenant that a request belongs to. A tenant is named by the index of its key in API_KEY, so that keys are
// not passed around. The `user` field does not count: a client could gain turns in the queue by inventing users.

import type { Context, MiddlewareHandler } from 'hono';
import { bearerAuth } from 'hono/bearer-auth';
import { sha256 } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';

declare module 'hono' {
  interface ContextVariableMap {
    tenant: string | undefined;
  }
}

/** The tenant that a generation is queued for, and the signal that cancels it. */
export type Caller = { tenant: string | undefined; signal: AbortSignal };

export function getCaller(context: Context): Caller {
  return { tenant: context.get('tenant'), signal: context.req.raw.signal };
}

/** Accepts a request with any of the keys. */
export function requireApiKey(keys: string[]): MiddlewareHandler {
  // Compared by hash, so that the duration of the comparison reveals nothing about a key.
  const tenants = new Map(keys.map((key, index) => [sha256(key), `key ${index}`]));
  const throwUnauthorized = () => {
    throw new AttuneError('missing or invalid API key; send `authorization: Bearer …` with a key from API_KEY', {
      status: 401,
      code: 'invalid_api_key',
      retry: false,
    });
  };
  return bearerAuth({
    verifyToken(token, context) {
      const tenant = tenants.get(sha256(token));
      context.set('tenant', tenant);
      return tenant !== undefined;
    },
    noAuthenticationHeader: { message: throwUnauthorized },
    invalidAuthenticationHeader: { message: throwUnauthorized },
    invalidToken: { message: throwUnauthorized },
  });
}
