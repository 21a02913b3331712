// The caller that a request belongs to: the queue, rate limits, idempotency keys, logs and the audit log all name it by the same
// id. The `user` field does not count: a client could gain turns in the queue by inventing users. The keys of API_KEY are
// administrators; keys in Postgres and raters may do what their scopes say, with the rows of their tenant.

import type { Context, MiddlewareHandler } from 'hono';
import { DEFAULT_TENANT, type Owner } from '../../shared/access/owner.ts';
import type { RowQuota } from '../../shared/access/row-quota.ts';
import { AttuneError } from '../../shared/error.ts';
import { hasScope, SCOPES, type Scope } from '../../shared/scopes.ts';
import { EMBED_TOKEN_START, identifyEmbedded } from '../embed-token.ts';
import type { Tenants } from '../engine/tenants.ts';
import type { RequestRecord } from '../http/request-record.ts';
import { type Identity, type IdentityPorts, identifyHolder, identifyKey } from '../identity.ts';
import { clearSession, findSession, invalidSession, type Session } from '../session.ts';

declare module 'hono' {
  interface ContextVariableMap {
    identity: Identity | undefined;
    /** set if the request is by its cookie, and has no key */
    session: Session | undefined;
  }
}

/** The caller where no keys are configured. */
export const ANONYMOUS = 'anonymous';

/**
 * Who asks for a generation: `turn` is whose turn it takes in the queue, and whose prompts share the prefix cache. The keys of
 * a tenant take turns as one; those of API_KEY, whose rows are all of the default tenant, each for itself.
 */
export type Caller = {
  id: string;
  turn: string;
  /** generations at once; null: no limit */
  maxConcurrent: number | null;
  rowQuota: RowQuota | null;
  signal: AbortSignal;
  record: RequestRecord;
};

export function getCaller(context: Context): Caller {
  const id = getCallerId(context);
  return {
    id,
    turn: context.get('identity')?.tenant ?? id,
    maxConcurrent: context.get('identity')?.limits?.concurrent ?? null,
    rowQuota: getRowQuota(context),
    signal: context.req.raw.signal,
    record: context.get('record'),
  };
}

/** Null: the key may store any number of rows. */
export function getRowQuota(context: Context): RowQuota | null {
  return context.get('identity')?.rowQuota ?? null;
}

export function getTenant(context: Context): string {
  return context.get('identity')?.tenant ?? DEFAULT_TENANT;
}

export function getOwner(context: Context): Owner {
  return { tenant: getTenant(context), created_by: getCallerId(context) };
}

/** The tenant whose rows a request may read and change; null: those of all. */
export function getReadableTenant(context: Context): string | null {
  return hasScope(getScopes(context), []) ? null : getTenant(context);
}

/** The tenant that a list is of: the caller's own, or for an administrator the requested one. */
export function selectTenant(context: Context, requested: string | undefined): string {
  const own = getTenant(context);
  if (requested === undefined || requested === own) return own;
  assertScope(context, [], `reading the tenant ${requested}`);
  return requested;
}

/** Stable when keys are added or reordered, the same in every process, and safe to log. */
export function getCallerId(context: Context): string {
  return context.get('identity')?.id ?? ANONYMOUS;
}

/** Whose requests are counted together, and whose Idempotency-Keys are one: the readers of embedded comparisons are not their key. */
export function getClientId(context: Context): string {
  const { embedding } = context.get('identity') ?? {};
  return embedding ? `${getCallerId(context)}/${embedding.subject}` : getCallerId(context);
}

/** Whether the request came without a key or a session, which is possible without API_KEY, and to sign in. */
export function isAnonymous(context: Context): boolean {
  return context.get('identity') === undefined;
}

/** Without API_KEY there is one person on this machine, who may do everything. */
export function getScopes(context: Context): readonly Scope[] {
  return context.get('identity')?.scopes ?? SCOPES;
}

/**
 * Accepts a key of API_KEY or of Postgres, or the cookie of a session. Without API_KEY any request is accepted, but one that
 * comes with a key of Postgres or a session may do what these may: clients of OpenAI always send some key.
 */
export function authenticate(ports: IdentityPorts): MiddlewareHandler {
  return async (context, next) => {
    const key = await identifyBearer(ports, context);
    const session = await findSession(ports, context);
    if (key) {
      // A cookie that is not valid any more does no harm beside a key, and an embed token is for whoever reads the page.
      if (session && typeof session !== 'string' && session.identity.id !== key.id && key.kind !== 'embed')
        throw twoCredentials(key, session.identity);
      context.set('identity', key);
    } else if (session !== null) {
      if (typeof session === 'string') {
        // So that the page's next request has none.
        clearSession(context);
        throw invalidSession(session);
      }
      context.set('identity', session.identity);
      context.set('session', session);
    } else if (ports.settings.API_KEY) throw unauthorized(describeMissing(context));
    await next();
  };
}

/** Why a caller who was authenticated would be refused by now: what streams for long looks again and again. Null: it would not. */
export async function findRefusal(ports: IdentityPorts, context: Context): Promise<AttuneError | null> {
  const identity = context.get('identity');
  if (!identity) return null;
  if (context.get('session')) {
    const session = await findSession(ports, context);
    return typeof session === 'string' ? invalidSession(session) : null;
  }
  const holder = await identifyHolder(ports, identity);
  return typeof holder === 'string' ? unauthorized(holder) : null;
}

/** The bearer of the Authorization header. Where keys are needed, it throws if there is a header without a valid one. */
async function identifyBearer(ports: IdentityPorts, context: Context): Promise<Identity | null> {
  const header = context.req.header('authorization') ?? '';
  // Of several headers, fetch makes one with commas.
  if (header.includes(',')) throw unauthorized('the Authorization header has several values, and takes one');
  const [, text] = /^Bearer +(\S+) *$/i.exec(header) ?? [];
  if (text?.startsWith(EMBED_TOKEN_START)) return identifyEmbedded(ports, text, context);
  const identity = text === undefined ? null : await identifyKey(ports, text, context);
  if (typeof identity === 'string') throw unauthorized(identity);
  if (!identity && header !== '' && ports.settings.API_KEY) throw unauthorized('missing or invalid API key');
  return identity;
}

function describeMissing({ req }: Context): string {
  const other = ['x-api-key', 'api-key'].find((name) => req.header(name) !== undefined);
  return other ? `the header ${other} is not read` : 'missing or invalid API key';
}

export function seeTenant(tenants: Tenants): MiddlewareHandler {
  return async (context, next) => {
    tenants.see(getCaller(context).turn);
    await next();
  };
}

/** Refuses a key that has none of these scopes, and an embed token unless the operation takes them: its handler checks what for. */
export function requireScope(needed: readonly Scope[], takesEmbedTokens = false): MiddlewareHandler {
  return async (context, next) => {
    const isEmbedded = takesEmbedTokens && context.get('identity')?.kind === 'embed';
    if (!isEmbedded) assertScope(context, needed, `${context.req.method} ${context.req.path}`);
    await next();
  };
}

/** Throws `insufficient_scope`. `what` needs one of the scopes; `param`: the field that asks for it. */
export function assertScope(
  context: Context,
  needed: readonly Scope[],
  what: string,
  param: string | null = null,
): void {
  const granted = getScopes(context);
  if (hasScope(granted, needed)) return;
  const { kind } = context.get('identity') ?? {};
  if (kind === 'embed')
    throw new AttuneError(
      `an embed token is for voting on the comparison that it was made for, and ${what} is not that; have your backend ` +
        'send this request with its key',
      { status: 403, param, code: 'insufficient_scope', retry: false },
    );
  const holds =
    kind === 'rater'
      ? 'a rater may only compare and vote'
      : `${getCallerId(context)} has the scope${granted.length > 1 ? 's' : ''} ${formatList(granted)}`;
  throw new AttuneError(
    `${holds}, and ${what} needs ${needed.join(' or ') || 'admin'}; ask an administrator for a key with that scope ` +
      '(`attune keys create`)',
    { status: 403, param, code: 'insufficient_scope', retry: false },
  );
}

const formatList = (words: readonly string[]) => new Intl.ListFormat('en').format(words);

function twoCredentials(key: Identity, holder: Identity): AttuneError {
  return new AttuneError(
    `the Authorization header is of ${key.id}, and the session's cookie of ${holder.id}; leave out the header, or sign out ` +
      'with DELETE /v1/session',
    { code: 'two_credentials' },
  );
}

function unauthorized(problem: string): AttuneError {
  return new AttuneError(
    `${problem}; send \`authorization: Bearer …\` with a key from API_KEY or from \`attune keys create\``,
    { status: 401, code: 'invalid_api_key', retry: false },
  );
}
