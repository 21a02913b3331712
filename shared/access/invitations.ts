// Invitations: a token that signs one browser in as a rater, once. When it expires is decided by Postgres's clock, so that a
// process whose own is wrong decides nothing.
import { and, eq, gt, isNull, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { invitations } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { recordAudit } from './audit.ts';
import { findRater, type RaterRow } from './raters.ts';
import { createToken, parseToken } from './token.ts';

export const DEFAULT_EXPIRY_HOURS = 72;
export const MAX_EXPIRY_HOURS = 720;

/** Where a page signs in, with the token of an invitation as `invitation` in its query. */
export const SIGN_IN_PATH = '/sign-in';

export type Invitation = { id: string; token: string; expiresAt: Date };

/** `token` is known only now. `actor`: who invites. */
export async function createInvitation(
  transaction: Pick<Database, 'insert'>,
  rater: RaterRow,
  hours: number,
  actor: string,
): Promise<Invitation> {
  if (!rater.active)
    throw new AttuneError(`${rater.id} is not active, and could not sign in; make the rater active first`, {
      status: 409,
      param: 'id',
      code: 'rater_inactive',
    });
  const { id, token, secretHash } = createToken('invitation');
  const [row] = await transaction
    .insert(invitations)
    .values({
      id,
      secret_hash: secretHash,
      rater_id: rater.id,
      expires_at: sql`now() + make_interval(hours => ${hours})`,
      tenant: rater.tenant,
      created_by: actor,
    })
    .returning({ expiresAt: invitations.expires_at });
  await recordAudit(transaction, { actor, action: 'invitation.created', target: id, details: { rater: rater.id } });
  return { id, token, expiresAt: row!.expiresAt };
}

/** The rater whom the token invites. Of concurrent uses one succeeds; a use that throws is none. */
export async function redeemInvitation(
  transaction: Pick<Database, 'select' | 'update' | 'insert'>,
  token: string,
): Promise<RaterRow> {
  const parsed = parseToken('invitation', token);
  if (!parsed) throw refuse('invalid_invitation', 'this is not an invitation');
  const isGiven = and(eq(invitations.id, parsed.id), eq(invitations.secret_hash, parsed.secretHash));
  const [used] = await transaction
    .update(invitations)
    .set({ used_at: sql`now()` })
    .where(and(isGiven, isNull(invitations.used_at), gt(invitations.expires_at, sql`now()`)))
    .returning();
  if (!used) {
    const [row] = await transaction.select().from(invitations).where(isGiven);
    if (!row) throw refuse('invalid_invitation', 'there is no such invitation');
    if (row.used_at) throw refuse('invitation_used', 'this invitation was used, and each signs in once');
    throw refuse('invitation_expired', `this invitation expired at ${row.expires_at.toISOString()}`);
  }
  const rater = await findRater(transaction, used.rater_id);
  if (!rater?.active) throw refuse('rater_inactive', 'the rater of this invitation is no longer active');
  const details = { by: 'invitation', invitation: used.id };
  await recordAudit(transaction, { actor: rater.id, action: 'session.created', target: rater.id, details });
  return rater;
}

function refuse(code: string, problem: string): AttuneError {
  return new AttuneError(`${problem}; ask whoever sent it for a new one`, {
    status: 401,
    param: 'invitation',
    code,
    retry: false,
  });
}
