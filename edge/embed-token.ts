// Embed tokens: a page of a product shows a comparison, and its reader votes, with a token that the product's backend has made
// with its key. It is a signed statement (a JWT) of what it is for; nothing is stored. It is valid for minutes, and no longer than
// its key. Time is Postgres's, not this process's, so its expiry is a claim of its own and not `exp`, which libraries compare with theirs.

import type { Context } from 'hono';
import { sign, verify } from 'hono/jwt';
import { sha256 } from '../shared/digest.ts';
import { AttuneError } from '../shared/error.ts';
import { type Identity, type IdentityPorts, identifyHolder } from './identity.ts';
import { allowOrigin, assertOrigin } from './middleware/embed-cors.ts';

/** One comparison, those of one end user, or one comparison as seen by one end user. */
export type Embedding = {
  comparison: string | null;
  /** who votes, as `user:…`; null: `anonymous` */
  user: string | null;
  /** the only page that may send it from a browser; null: any that CORS_ORIGINS lists */
  origin: string | null;
};

/** `key`: the fingerprint of the key; null: none was needed. */
type Claims = Embedding & { by: string; key: string | null; tenant: string; expires_at_ms: number };

export const EMBED_TOKEN_START = 'et_';
const ALGORITHM = 'HS256';
const AUDIENCE = 'attune embed';

/** `by`: the id of the caller; `identity`: undefined if no key was needed. */
export async function createEmbedToken(
  { db, credentials }: IdentityPorts,
  embedding: Embedding,
  { by, identity, tenant }: { by: string; identity: Identity | undefined; tenant: string },
  seconds: number,
): Promise<{ token: string; expiresAt: Date }> {
  const { value: secret, now } = await credentials.getSessionSecret(db);
  const expiresAt = new Date(now.getTime() + seconds * 1000);
  const claims: Claims = {
    ...embedding,
    by,
    key: identity?.fingerprint ?? null,
    tenant,
    expires_at_ms: expiresAt.getTime(),
  };
  const token = await sign({ aud: AUDIENCE, ...claims }, secret, ALGORITHM);
  return { token: EMBED_TOKEN_START + token, expiresAt };
}

/** Who may do what the token says. Throws a 401 if it is not valid, which its page may read once the signature is known. */
export async function identifyEmbedded(ports: IdentityPorts, text: string, context: Context): Promise<Identity> {
  const { value: secret, now } = await ports.credentials.getSessionSecret(ports.db);
  const claims = await readClaims(text.slice(EMBED_TOKEN_START.length), secret);
  if (!claims) throw refuseToken('its signature does not match');
  const { comparison, user, origin, by, key, tenant, expires_at_ms } = claims;
  allowOrigin(context, origin);
  const expiresAt = new Date(expires_at_ms);
  if (expiresAt <= now) throw refuseToken(`it expired at ${expiresAt.toISOString()}`);
  const holder =
    key === null ? findAnyone(ports) : await identifyHolder(ports, { kind: 'key', id: by, fingerprint: key });
  if (typeof holder === 'string') throw refuseToken(holder);
  assertOrigin(context, origin, ports.settings.CORS_ORIGINS);
  const subject = sha256(JSON.stringify([tenant, comparison, user])).slice(0, 16);
  return {
    kind: 'embed',
    id: by,
    name: null,
    tenant,
    scopes: [],
    limits: holder?.limits ?? { requests: null, tokens: null, concurrent: null },
    rowQuota: holder?.rowQuota ?? null,
    fingerprint: key ?? '',
    embedding: { comparison, user, origin, subject },
  };
}

/** Null: a server without keys, on which no key can be revoked. */
function findAnyone({ settings }: IdentityPorts): null | string {
  return settings.API_KEY ? 'it was made without a key, and API_KEY was set since' : null;
}

async function readClaims(token: string, secret: string): Promise<Claims | null> {
  try {
    return (await verify(token, secret, { alg: ALGORITHM, aud: AUDIENCE })) as Claims;
  } catch {
    return null;
  }
}

function refuseToken(problem: string): AttuneError {
  return new AttuneError(`the embed token is not valid: ${problem}; have your backend make another one`, {
    status: 401,
    code: 'invalid_embed_token',
    retry: false,
  });
}
