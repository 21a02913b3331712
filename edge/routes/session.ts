// Sessions: a browser signs in with a key or an invitation, and its cookie takes the place of the key. What signs in and out
// needs no key; browser-guard.ts keeps other sites' pages from it.

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { recordAudit } from '../../shared/access/audit.ts';
import { redeemInvitation } from '../../shared/access/invitations.ts';
import { sha256 } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { SCOPES } from '../../shared/scopes.ts';
import { defineOperation } from '../http/operation.ts';
import { toUnixSeconds } from '../http/resource.ts';
import { type Identity, identifyKey, toRaterIdentity } from '../identity.ts';
import { getScopes, getTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { beginSession, clearSession, findSession, type Session } from '../session.ts';

export const credentialsBody = z
  .strictObject({
    key: z.string().min(1, 'is empty; give an API key').max(500).optional(),
    invitation: z.string().min(1, 'is empty; give the token of an invitation').max(500).optional(),
  })
  .refine((body) => (body.key === undefined) !== (body.invitation === undefined), {
    path: ['invitation'],
    error: 'give either key or invitation',
  });

type Credentials = z.output<typeof credentialsBody>;

const holder = z.object({ id: z.string(), name: z.string().nullable() }).nullable();

const session = z
  .object({
    object: z.literal('session'),
    rater: holder.openapi({ description: 'who votes, if a rater signed in' }),
    key: holder.openapi({ description: 'otherwise; null without a key, on a server without API_KEY' }),
    tenant: z.string(),
    scopes: z.array(z.enum(SCOPES)),
    expires_at: z.number().nullable().openapi({ description: 'null: this is a key, and no session' }),
  })
  .openapi('Session');

const toResponse = (
  context: Context,
  identity: Identity | undefined,
  expiresAt: Date | undefined,
): z.output<typeof session> => {
  const { kind, id, name, tenant = getTenant(context), scopes = getScopes(context) } = identity ?? {};
  const named = id === undefined ? null : { id, name: name ?? null };
  return {
    object: 'session',
    rater: kind === 'rater' ? named : null,
    key: kind === 'key' ? named : null,
    tenant,
    scopes: [...scopes],
    expires_at: expiresAt ? toUnixSeconds(expiresAt) : null,
  };
};

export const createSession = defineOperation({
  scopes: null,
  summary: 'Signs a browser in, with a key or an invitation, by a cookie that lasts 12 hours',
  body: credentialsBody,
  response: session,
  async handler({ ports, context, body }) {
    const { identity, expiresAt } = await signIn(ports, context, body);
    return toResponse(context, identity, expiresAt);
  },
});

export const getSession = defineOperation({
  scopes: SCOPES,
  summary: 'Who sends this request, and what they may do',
  response: session,
  handler: async ({ context }) => toResponse(context, context.get('identity'), context.get('session')?.expiresAt),
});

export const endSession = defineOperation({
  scopes: null,
  summary: 'Signs a browser out; without a session it does nothing',
  response: z.object({ object: z.literal('session'), deleted: z.literal(true) }),
  async handler({ ports, context }) {
    await signOut(ports, context);
    return { object: 'session', deleted: true };
  },
});

/** Clears the cookie. */
export async function signOut(ports: Ports, context: Context): Promise<void> {
  const open = await findSession(ports, context);
  clearSession(context);
  if (open === null || typeof open === 'string') return;
  const { id } = open.identity;
  await countRequest(ports, context, open.identity);
  await recordAudit(ports.db, { actor: id, action: 'session.ended', target: id });
}

/** Sets the cookie of a new session, which takes the place of an earlier one. */
export async function signIn(ports: Ports, context: Context, { key, invitation }: Credentials): Promise<Session> {
  const identity =
    key === undefined
      ? await identifyWithInvitation(ports, context, invitation!)
      : await identifyWithKey(ports, context, key);
  context.header('cache-control', 'no-store');
  return beginSession(ports, context, identity);
}

/** Over the limit of the rater, the invitation is not used up. */
async function identifyWithInvitation(ports: Ports, context: Context, invitation: string): Promise<Identity> {
  const address = ports.getAddress(context);
  ports.wrongKeys.check(address, sha256(invitation));
  return ports.db.transaction(async (transaction) => {
    const rater = await redeemInvitation(transaction, invitation).catch((error) => {
      if (error instanceof AttuneError && error.status === 401) ports.wrongKeys.count(address);
      throw error;
    });
    const identity = toRaterIdentity(rater);
    await countRequest(ports, context, identity);
    return identity;
  });
}

async function identifyWithKey(ports: Ports, context: Context, key: string): Promise<Identity> {
  const identity = (await identifyKey(ports, key, context)) ?? 'invalid API key';
  if (typeof identity === 'string')
    throw new AttuneError(`key: ${identity}; give a key from API_KEY or from \`attune keys create\``, {
      status: 401,
      param: 'key',
      code: 'invalid_api_key',
      retry: false,
    });
  const { id } = identity;
  await countRequest(ports, context, identity);
  await recordAudit(ports.db, { actor: id, action: 'session.created', target: id, details: { by: 'key' } });
  return identity;
}

/** Signing in and out is a request as any other, although it comes before its caller is known. */
async function countRequest(
  { rateLimits, getAddress }: Ports,
  context: Context,
  { id, limits }: Identity,
): Promise<void> {
  await rateLimits?.countRequest({ id, address: getAddress(context), limits });
}
