// Headers that tell browsers what the responses of this API may do: nothing, unless a page says otherwise; and that nobody
// keeps those under /v1, which have texts and new keys. A handler that serves a page or a stream sets its own.

import { createHash } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import { secureHeaders } from 'hono/secure-headers';
import { isHttps } from '../session.ts';

const OPTIONS = {
  contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  xFrameOptions: 'DENY',
  // Set below, for HTTPS only, and not for other hosts of the domain.
  strictTransportSecurity: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
  overwrite: false,
};
const overHttp = secureHeaders(OPTIONS);
const overHttps = secureHeaders({ ...OPTIONS, strictTransportSecurity: 'max-age=15552000' });

export const sendSecurityHeaders: MiddlewareHandler = async (context, next) => {
  await (isHttps(context) ? overHttps : overHttp)(context, next);
  if (context.req.path.startsWith('/v1/') && !context.res.headers.has('cache-control'))
    context.header('cache-control', 'no-store');
};

/** The policy of a page that loads what these directives allow, shows its own forms, and is in nobody's frame. */
export function toPagePolicy(directives: string): string {
  return `default-src 'none'; ${directives}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`;
}

/** The source that allows this inline style or script. */
export function toCspHash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
