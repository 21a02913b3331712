// API keys, and the caller that a request belongs to: the queue, rate limits, idempotency keys, logs and the audit log all name
// it by the same id. The `user` field does not count: a client could gain turns in the queue by inventing users. The keys of
// API_KEY are administrators; those in Postgres may do what their scopes say, with the rows of their tenant.

import type { Context, MiddlewareHandler } from 'hono';
import { DEFAULT_TENANT, type Owner } from '../../shared/access/owner.ts';
import type { RowQuota } from '../../shared/access/row-quota.ts';
import { parseToken } from '../../shared/access/token.ts';
import { sha256 } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { hasScope, SCOPES, type Scope } from '../../shared/scopes.ts';
import type { Settings } from '../../shared/settings.ts';
import type { Tenants } from '../engine/tenants.ts';
import type { RequestRecord } from '../http/request-record.ts';
import type { KeyLimits, Ports } from '../ports.ts';

declare module 'hono' {
  interface ContextVariableMap {
    callerId: string | undefined;
    tenant: string | undefined;
    scopes: readonly Scope[] | undefined;
    limits: KeyLimits | undefined;
    rowQuota: RowQuota | undefined;
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
    turn: context.get('tenant') ?? id,
    maxConcurrent: context.get('limits')?.concurrent ?? null,
    rowQuota: getRowQuota(context),
    signal: context.req.raw.signal,
    record: context.get('record'),
  };
}

/** Null: the key may store any number of rows. */
export function getRowQuota(context: Context): RowQuota | null {
  return context.get('rowQuota') ?? null;
}

export function getTenant(context: Context): string {
  return context.get('tenant') ?? DEFAULT_TENANT;
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
  return context.get('callerId') ?? ANONYMOUS;
}

/** Whether the request came without a key, which is possible without API_KEY only. */
export function isAnonymous(context: Context): boolean {
  return context.get('callerId') === undefined;
}

/** Without API_KEY there is one person on this machine, who may do everything. */
export function getScopes(context: Context): readonly Scope[] {
  return context.get('scopes') ?? SCOPES;
}

/** 48 bits tell the keys of a server apart. */
function toCallerId(digest: string): string {
  return `key_${digest.slice(0, 12)}`;
}

type AuthPorts = Pick<Ports, 'db' | 'keyCache' | 'wrongKeys' | 'getAddress'> & { settings: Pick<Settings, 'API_KEY'> };

/**
 * Accepts a key of API_KEY or of Postgres. Without API_KEY any request is accepted, but one that comes with a key of Postgres
 * may do what that key may: clients of OpenAI always send some key.
 */
export function authenticate({ db, keyCache, wrongKeys, getAddress, settings }: AuthPorts): MiddlewareHandler {
  const adminKeys = settings.API_KEY;
  // Compared by hash, so that the duration of the comparison reveals nothing about a key.
  const admins = new Set(adminKeys?.map(sha256));
  return async (context, next) => {
    const [, text] = /^Bearer +(\S+) *$/i.exec(context.req.header('authorization') ?? '') ?? [];
    const digest = text && sha256(text);
    const token = text ? parseToken(text) : null;
    const address = getAddress(context);
    const isTried = digest && (token || adminKeys);
    if (isTried) wrongKeys.check(address, digest);
    if (digest && admins.has(digest)) context.set('callerId', toCallerId(digest));
    else if (token) {
      const row = await keyCache.find(db, token.id);
      if (row?.secret_hash !== token.secretHash) {
        wrongKeys.count(address);
        throw unauthorized('invalid API key');
      }
      if (row.revoked_at) throw unauthorized(`${row.id} was revoked`);
      if (row.expires_at && row.expires_at.getTime() <= Date.now())
        throw unauthorized(`${row.id} expired at ${row.expires_at.toISOString()}`);
      context.set('callerId', row.id);
      context.set('tenant', row.tenant);
      context.set('scopes', row.scopes);
      context.set('limits', {
        requests: row.requests_per_minute,
        tokens: row.tokens_per_minute,
        concurrent: row.concurrent_generations,
      });
      if (row.rows_per_day !== null) context.set('rowQuota', { keyId: row.id, perDay: row.rows_per_day });
    } else if (adminKeys) {
      if (digest) wrongKeys.count(address);
      throw unauthorized('missing or invalid API key');
    }
    if (isTried) wrongKeys.accept(address, digest);
    await next();
  };
}

export function seeTenant(tenants: Tenants): MiddlewareHandler {
  return async (context, next) => {
    tenants.see(getCaller(context).turn);
    await next();
  };
}

/** Refuses a key that has none of these scopes. */
export function requireScope(needed: readonly Scope[]): MiddlewareHandler {
  return async (context, next) => {
    assertScope(context, needed, `${context.req.method} ${context.req.path}`);
    await next();
  };
}

/** Throws `insufficient_scope`. `what` needs one of the scopes. */
export function assertScope(context: Context, needed: readonly Scope[], what: string): void {
  const granted = getScopes(context);
  if (hasScope(granted, needed)) return;
  throw new AttuneError(
    `${getCallerId(context)} may ${granted.join(', ')}, and ${what} needs ${needed.join(' or ') || 'admin'}; ask an administrator for a ` +
      `key with that scope (\`attune keys create\`)`,
    { status: 403, code: 'insufficient_scope', retry: false },
  );
}

function unauthorized(problem: string): AttuneError {
  return new AttuneError(
    `${problem}; send \`authorization: Bearer …\` with a key from API_KEY or from \`attune keys create\``,
    { status: 401, code: 'invalid_api_key', retry: false },
  );
}
