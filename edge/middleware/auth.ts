// API keys: who may ask at all, and as which tenant. A tenant is the place of its key in API_KEY, so that no key is
// handed on; and nothing else makes one, so that nobody gets ahead of others by inventing users.

import type { Context, MiddlewareHandler } from 'hono';
import { bearerAuth } from 'hono/bearer-auth';
import { sha256 } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';

declare module 'hono' {
  interface ContextVariableMap {
    tenant: string | undefined;
  }
}

/** Who waits for an answer: whose turn it is, and until when. */
export type Caller = { tenant: string | undefined; signal: AbortSignal };

export function getCaller(context: Context): Caller {
  return { tenant: context.get('tenant'), signal: context.req.raw.signal };
}

/** Lets a request through with any of the keys. */
export function requireApiKey(keys: string[]): MiddlewareHandler {
  // By hash, because how long a comparison of hashes takes tells nothing about a key.
  const tenants = Promise.all(keys.map(sha256)).then(
    (hashes) => new Map(hashes.map((hash, at) => [hash, `key ${at}`])),
  );
  const refuse = () => {
    throw new AttuneError('this API needs a key: send `authorization: Bearer …` with one out of API_KEY', {
      status: 401,
      code: 'invalid_api_key',
      retry: false,
    });
  };
  return bearerAuth({
    async verifyToken(token, context) {
      const tenant = (await tenants).get(await sha256(token));
      context.set('tenant', tenant);
      return tenant !== undefined;
    },
    noAuthenticationHeader: { message: refuse },
    invalidAuthenticationHeader: { message: refuse },
    invalidToken: { message: refuse },
  });
}
