// Protects what needs no key from web pages. A page can make the browser that shows it send requests: to 127.0.0.1, with its own
// Origin, or, after its name was pointed there (DNS rebinding), with its own Host; and with the cookie of a session, to anywhere.

import type { Context, MiddlewareHandler } from 'hono';
import { getCookie } from 'hono/cookie';
import { csrf } from 'hono/csrf';
import { AttuneError } from '../../shared/error.ts';
import { COOKIE_NAME } from '../session.ts';
import { isAnonymous } from './auth.ts';

/** Browsers ask before they send these for a page of another origin; the types that they do not ask for are those of forms. */
const JSON_TYPE = /^application\/(x-)?(json|jsonl|jsonlines|ndjson)\s*(;|$)/i;

/** Refuses a request without a key that a page of another origin may have sent. `allowedOrigins`: those of CORS_ORIGINS. */
export function guardAgainstPages(allowedOrigins: readonly string[] = []): MiddlewareHandler {
  return async (context, next) => {
    if (context.get('session')) {
      await assertOwnPage(context);
      assertJson(context);
    } else if (isAnonymous(context)) {
      assertLoopback(context, allowedOrigins);
      const origin = context.req.header('origin');
      // With this header it is no form. Any page may send it where embed tokens are taken, and this is none (embed-cors.ts).
      if (context.req.header('authorization') === undefined) assertJson(context);
      else if (origin !== undefined && !allowedOrigins.includes(origin) && !isOwnOrigin(origin, context))
        throw foreign('Origin', origin, 'without API_KEY its pages need an embed token, or an entry in CORS_ORIGINS');
    }
    await next();
  };
}

/** For what sign in and out: nobody has a key yet, or needs one. Without a cookie there is nothing to sign out of. */
export const guardSignIn: MiddlewareHandler = async (context, next) => {
  const signsOut = context.req.method === 'DELETE';
  if (!signsOut || getCookie(context, COOKIE_NAME) !== undefined) await assertOwnPage(context);
  await next();
};

/** For what is open to everyone, on a server without API_KEY. */
export const guardLoopback: MiddlewareHandler = async (context, next) => {
  assertLoopback(context, []);
  await next();
};

function assertLoopback(context: Context, allowedOrigins: readonly string[]): void {
  const host = context.req.header('host');
  const origin = context.req.header('origin');
  const remedy = 'without API_KEY only this machine is answered; set API_KEY and send a key';
  if (host !== undefined && !isLoopback(host)) throw foreign('Host', host, remedy);
  if (origin !== undefined && !allowedOrigins.includes(origin) && !isLoopback(hostOf(origin)))
    throw foreign('Origin', origin, `${remedy}, or list the origin in CORS_ORIGINS`);
}

// hono's middleware covers what a page can send without the browser asking first: forms, and bodies without a type.
const refuseForms = csrf({ origin: isOwnOrigin });

/** What changes something must not come from a page of another origin, whatever its type. */
async function assertOwnPage(context: Context): Promise<void> {
  if (!isChange(context)) return;
  const origin = context.req.header('origin');
  const isOwn = context.req.header('sec-fetch-site') === 'same-origin' || isOwnOrigin(origin ?? '', context);
  const remedy = 'a session is for pages of this server; send a key instead of the cookie';
  if (origin !== undefined && !isOwn) throw foreign('Origin', origin, remedy);
  await refuseForms(context, async () => {}).catch(() => {
    throw foreign('Origin', undefined, `${remedy}, or content-type: application/json`);
  });
}

/** The scheme is not compared: a proxy may have ended TLS. */
function isOwnOrigin(origin: string, context: Context): boolean {
  return hostOf(origin) !== '' && hostOf(origin) === context.req.header('host')?.toLowerCase();
}

function assertJson(context: Context): void {
  if (!isChange(context)) return;
  const { req } = context;
  const type = req.header('content-type');
  const hasBody = Number(req.header('content-length') ?? 0) > 0 || req.header('transfer-encoding') !== undefined;
  if (type === undefined ? !hasBody : JSON_TYPE.test(type)) return;
  throw new AttuneError(
    `content-type is ${JSON.stringify(type ?? '')}, and without a key a body must be JSON, because a form can be sent by any ` +
      "web page; send -H 'content-type: application/json' (an import: application/jsonl), or a key",
    { status: 415, code: 'unsupported_media_type', retry: false },
  );
}

function isChange({ req }: Context): boolean {
  return !['GET', 'HEAD', 'OPTIONS'].includes(req.method);
}

function hostOf(origin: string): string {
  return URL.parse(origin)?.host ?? '';
}

/** `host` is a name or address, with or without a port. */
function isLoopback(host: string): boolean {
  const name = URL.parse(`http://${host}`)?.hostname ?? '';
  return name === 'localhost' || name.endsWith('.localhost') || name === '[::1]' || /^127(\.\d+){3}$/.test(name);
}

function foreign(header: 'Host' | 'Origin', value: string | undefined, problem: string): AttuneError {
  const shown = value === undefined ? 'missing' : JSON.stringify(value.slice(0, 200));
  return new AttuneError(`${header} is ${shown}, and ${problem}`, {
    status: 403,
    code: 'foreign_origin',
    retry: false,
  });
}
