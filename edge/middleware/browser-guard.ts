// Protects a server without API_KEY from web pages that its user visits. A page can make the browser send requests to
// 127.0.0.1: with its own Origin, or, after its name was pointed here (DNS rebinding), with its own Host.

import type { MiddlewareHandler } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { isAnonymous } from './auth.ts';

/** Refuses a request without a key whose Host or Origin is not this machine, or an origin of CORS_ORIGINS. */
export function guardAgainstPages(allowedOrigins: readonly string[] = []): MiddlewareHandler {
  return async (context, next) => {
    const host = context.req.header('host');
    const origin = context.req.header('origin');
    if (isAnonymous(context)) {
      if (host !== undefined && !isLoopback(host)) throw foreign('Host', host);
      if (origin !== undefined && !allowedOrigins.includes(origin) && !isLoopbackOrigin(origin))
        throw foreign('Origin', origin);
    }
    await next();
  };
}

function isLoopbackOrigin(origin: string): boolean {
  const host = URL.parse(origin)?.host;
  return host !== undefined && isLoopback(host);
}

/** `host` is a name or address, with or without a port. */
function isLoopback(host: string): boolean {
  const name = URL.parse(`http://${host}`)?.hostname ?? '';
  return name === 'localhost' || name.endsWith('.localhost') || name === '[::1]' || /^127(\.\d+){3}$/.test(name);
}

function foreign(header: 'Host' | 'Origin', value: string): AttuneError {
  return new AttuneError(
    `${header} is ${JSON.stringify(value.slice(0, 200))}, and without API_KEY only this machine is answered; set API_KEY and send ` +
      `a key${header === 'Origin' ? ', or list the origin in CORS_ORIGINS' : ''}`,
    { status: 403, code: 'foreign_origin', retry: false },
  );
}
