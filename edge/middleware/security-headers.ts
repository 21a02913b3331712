// Headers that tell browsers what the responses of this API may do: nothing, unless a page says otherwise. A handler that
// serves a page sets its own Content-Security-Policy.

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

export const sendSecurityHeaders: MiddlewareHandler = (context, next) =>
  (isHttps(context) ? overHttps : overHttp)(context, next);

/** The policy of a page that loads what these directives allow, shows its own forms, and is in nobody's frame. */
export function toPagePolicy(directives: string): string {
  return `default-src 'none'; ${directives}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`;
}

/** The source that allows this inline style or script. */
export function toCspHash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
