// Who sends a request, by the key that it carries, by the session that an earlier key or invitation began, or by the embed token
// that a key has made.

import type { Context } from 'hono';
import type { FoundKey } from '../shared/access/keys.ts';
import type { RaterRow } from '../shared/access/raters.ts';
import type { RowQuota } from '../shared/access/row-quota.ts';
import { parseToken } from '../shared/access/token.ts';
import { sha256 } from '../shared/digest.ts';
import type { Scope } from '../shared/scopes.ts';
import type { KeyLimits, Ports } from './ports.ts';

export type Identity = {
  kind: 'key' | 'rater' | 'embed';
  /** of an embed token: that of its key */
  id: string;
  /** null: of a key of API_KEY */
  name: string | null;
  /** undefined: an administrator of API_KEY, who may do everything */
  tenant?: string;
  scopes?: readonly Scope[];
  limits?: KeyLimits;
  /** null: any number of rows */
  rowQuota?: RowQuota | null;
  /** Another one once the key gets another secret, or the rater is deactivated. */
  fingerprint: string;
  /** What an embed token is for (embed-token.ts). `subject`: tells the tokens of a key apart. */
  embedding?: { comparison: string | null; user: string | null; origin: string | null; subject: string };
};

/** Enough to find out whom a session is of, and whether they may still have one. */
export type SessionHolder = Pick<Identity, 'kind' | 'id' | 'fingerprint'>;

export type IdentityPorts = Pick<Ports, 'db' | 'credentials' | 'settings' | 'wrongKeys' | 'getAddress'>;

/**
 * The bearer of a key; null if the text does not have the form of one. A text says why the key is not valid. Throws a 429
 * after too many wrong ones from the address of the request.
 */
export async function identifyKey(
  ports: IdentityPorts,
  text: string,
  context: Context,
): Promise<Identity | string | null> {
  const { wrongKeys, settings } = ports;
  const token = parseToken('key', text);
  // Clients of OpenAI send some key even where none is needed.
  if (!token && !settings.API_KEY) return null;
  const digest = sha256(text);
  const address = ports.getAddress(context);
  wrongKeys.check(address, digest);
  // Compared by hash, so that the duration of the comparison reveals nothing about a key.
  if (listDigests(settings.API_KEY).includes(digest)) {
    wrongKeys.accept(address, digest);
    return toAdministrator(digest);
  }
  const row = token && (await ports.credentials.findKey(ports.db, token.id));
  if (!row || row.secret_hash !== token.secretHash) {
    wrongKeys.count(address);
    return token && 'invalid API key';
  }
  const problem = findProblem(row);
  if (problem !== null) return problem;
  wrongKeys.accept(address, digest);
  await ports.credentials.recordUse(ports.db, row);
  return toKeyIdentity(row);
}

const digests = new WeakMap<readonly string[], string[]>();

/** Hashed once, not for every request: settings do not change. */
function listDigests(keys: readonly string[] = []): string[] {
  const known = digests.get(keys) ?? keys.map(sha256);
  digests.set(keys, known);
  return known;
}

/** The holder of a session as they are now; a text says why they may not have one any more. */
export async function identifyHolder(
  { db, credentials, settings }: IdentityPorts,
  { kind, id, fingerprint }: SessionHolder,
): Promise<Identity | string> {
  if (kind === 'rater') {
    const row = await credentials.findRater(db, id);
    if (!row?.active) return `${id} is not active`;
    const identity = toRaterIdentity(row);
    return identity.fingerprint === fingerprint ? identity : `${id} was deactivated since`;
  }
  const digest = listDigests(settings.API_KEY).find((candidate) => toFingerprint(candidate) === fingerprint);
  if (digest !== undefined) return toAdministrator(digest);
  const row = await credentials.findKey(db, id);
  if (!row || toFingerprint(row.secret_hash) !== fingerprint) return `${id} has another secret now, or is gone`;
  return findProblem(row) ?? toKeyIdentity(row);
}

export function toRaterIdentity({ id, name, tenant, deactivated_at }: RaterRow): Identity {
  const fingerprint = String(deactivated_at?.getTime() ?? '');
  return { kind: 'rater', id, name, tenant, scopes: ['rate'], fingerprint };
}

function toKeyIdentity(row: FoundKey): Identity {
  return {
    kind: 'key',
    id: row.id,
    name: row.name,
    tenant: row.tenant,
    scopes: row.scopes,
    limits: {
      requests: row.requests_per_minute,
      tokens: row.tokens_per_minute,
      concurrent: row.concurrent_generations,
    },
    rowQuota: row.rows_per_day === null ? null : { keyId: row.id, perDay: row.rows_per_day },
    fingerprint: toFingerprint(row.secret_hash),
  };
}

/** 48 bits tell the keys of a server apart. */
function toAdministrator(digest: string): Identity {
  return { kind: 'key', id: `key_${digest.slice(0, 12)}`, name: null, fingerprint: toFingerprint(digest) };
}

/** A session's cookie is readable, so it has a hash of the stored hash. */
function toFingerprint(secretHash: string): string {
  return sha256(secretHash).slice(0, 32);
}

function findProblem({ id, revoked_at, expires_at, is_expired }: FoundKey): string | null {
  if (revoked_at) return `${id} was revoked`;
  return is_expired ? `${id} expired at ${expires_at!.toISOString()}` : null;
}
