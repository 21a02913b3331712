// A session: a signed cookie that names the key or the rater who signed in, and when it ends. Nothing is stored; whether the
// holder may still have one is looked up with each request (identity.ts). Time is Postgres's, not this process's.

import type { Context } from 'hono';
import { deleteCookie, getCookie, getSignedCookie, setSignedCookie } from 'hono/cookie';
import { AttuneError } from '../shared/error.ts';
import { type Identity, type IdentityPorts, identifyHolder } from './identity.ts';

export const COOKIE_NAME = 'attune_session';

const LIFETIME_SECONDS = 12 * 3600;

export type Session = { identity: Identity; expiresAt: Date };

/** Signs the caller in: sets the cookie. */
export async function beginSession(
  { db, credentials }: IdentityPorts,
  context: Context,
  identity: Identity,
): Promise<Session> {
  const { value: secret, now } = await credentials.getSessionSecret(db);
  const { kind, id, fingerprint } = identity;
  const expiresAt = new Date(now.getTime() + LIFETIME_SECONDS * 1000);
  const content = Buffer.from(JSON.stringify([kind, id, fingerprint, expiresAt.getTime()])).toString('base64url');
  const attributes = { ...getAttributes(context), maxAge: LIFETIME_SECONDS };
  await setSignedCookie(context, COOKIE_NAME, content, secret, attributes);
  return { identity, expiresAt };
}

export function clearSession(context: Context): void {
  deleteCookie(context, COOKIE_NAME, getAttributes(context));
}

/** The session of the request's cookie; null if it has none. A text says why the cookie is not valid. */
export async function findSession(ports: IdentityPorts, context: Context): Promise<Session | string | null> {
  if (getCookie(context, COOKIE_NAME) === undefined) return null;
  const { value: secret, now } = await ports.credentials.getSessionSecret(ports.db);
  const content = await getSignedCookie(context, secret, COOKIE_NAME);
  if (!content) return 'its signature does not match';
  const [kind, id, fingerprint, expiresAtMs] = JSON.parse(Buffer.from(content, 'base64url').toString());
  const expiresAt = new Date(expiresAtMs);
  if (expiresAt <= now) return `it expired at ${expiresAt.toISOString()}`;
  const identity = await identifyHolder(ports, { kind, id, fingerprint });
  return typeof identity === 'string' ? identity : { identity, expiresAt };
}

export function invalidSession(problem: string): AttuneError {
  return new AttuneError(`the session is not valid: ${problem}; sign in again at /sign-in or with POST /v1/session`, {
    status: 401,
    code: 'invalid_session',
    retry: false,
  });
}

function getAttributes(context: Context) {
  return { path: '/', httpOnly: true, sameSite: 'Strict' as const, secure: isHttps(context) };
}

/** Behind a proxy that ends TLS, its header says so. A client that sends it makes its own cookie stricter, and no more. */
export function isHttps(context: Context): boolean {
  return context.req.url.startsWith('https:') || /^https\b/.test(context.req.header('x-forwarded-proto') ?? '');
}
