// Items that are reserved for a rater: the next one, a heartbeat, and the vote.

import { z } from '@hono/zod-openapi';
import { and, eq, isNull } from 'drizzle-orm';
import type { Context } from 'hono';
import { countRows } from '../../shared/access/row-quota.ts';
import type { Database } from '../../shared/database/connect.ts';
import { reservations } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { isStrict } from '../../shared/preferences/vote-details.ts';
import { assertAdmitted, REFUSALS } from '../../shared/queues/admission.ts';
import { lockQueue } from '../../shared/queues/queues.ts';
import { lockStanding } from '../../shared/queues/rater-standing.ts';
import { prolong, type ReservationRow } from '../../shared/queues/reserve.ts';
import { notFound } from '../http/errors.ts';
import { defineOperation } from '../http/operation.ts';
import { getCaller, getCallerId, getReadableTenant, getRowQuota } from '../middleware/auth.ts';
import { namedRater, nameRater } from '../preferences/name-rater.ts';
import { assertMayDemonstrate, detailFields, redactDetails } from '../preferences/vote-details.ts';
import { castVote, lapsed, undoVote } from '../queues/cast-vote.ts';
import { CHOICES, describeReservation, reservationSchema, toShown } from '../queues/describe-reservation.ts';
import { findNext } from '../queues/next-reservation.ts';
import { findQueue } from './queues.ts';

const SCOPES = ['rate', 'feedback'] as const;

const noReservation = z.object({
  object: z.literal('reservation'),
  id: z.null(),
  reason: z.enum(REFUSALS),
  message: z.string(),
});

export const reserveNext = defineOperation({
  scopes: SCOPES,
  summary: 'Reserves the next item of a queue for a rater; the one that the rater has still reserved, if there is one',
  needsPolicy: 'queue',
  body: z.strictObject({
    rater: namedRater,
    ahead: z.boolean().default(false).openapi({
      description:
        'reserves the item after the one that the rater has, so that its sides are there in time; one at most',
    }),
  }),
  response: z.union([reservationSchema, noReservation]),
  async handler({ ports, context, param, body }) {
    const rater = nameRater(context, body.rater);
    const { id, tenant } = await findQueue(ports.db, context, param('id'));
    const owner = { tenant, created_by: getCallerId(context) };
    const next = await findNext(ports, id, rater, owner, getCaller(context), { ahead: body.ahead });
    if (!next) throw notFound('queue', id);
    if ('reason' in next) return { object: 'reservation', id: null, ...next };
    return describeReservation(ports.db, next.reservation);
  },
});

export const getReservation = defineOperation({
  scopes: SCOPES,
  summary: 'One reservation of yours, with the vote if there is one',
  response: reservationSchema,
  handler: async ({ ports, context, param }) =>
    describeReservation(ports.db, await findReservation(ports.db, context, param('id'))),
});

export const prolongReservation = defineOperation({
  scopes: SCOPES,
  summary: 'Keeps a reservation from lapsing while the rater looks at it',
  response: z.object({ id: z.string(), object: z.literal('reservation.heartbeat'), expires_at: z.number() }),
  handler: ({ ports, context, param }) =>
    ports.db.transaction(async (transaction) => {
      const found = await findReservation(transaction, context, param('id'));
      const queue = await lockQueue(transaction, found.queue_id, 'share');
      if (!queue) throw notFound('reservation', found.id);
      const standing = await lockStanding(transaction, found.queue_id, found.rater);
      if (found.state === 'voted' || found.state === 'skipped')
        throw new AttuneError(`${found.id} was voted on, so it does not lapse`, {
          status: 409,
          param: 'id',
          code: 'already_voted',
          retry: false,
        });
      await assertAdmitted(transaction, queue, standing, { isHeld: false });
      const row = await prolong(transaction, queue, found);
      if (!row) throw lapsed(found.id);
      return {
        id: row.id,
        object: 'reservation.heartbeat',
        expires_at: Math.floor(row.expires_at.getTime() / 1000),
      };
    }),
});

export const voteOnReservation = defineOperation({
  scopes: SCOPES,
  summary: 'Votes on a reserved item, or changes the vote until a round has used it',
  idempotent: true,
  body: z
    .strictObject({
      choice: z.enum(CHOICES).openapi({ description: 'of the sides as the reservation shows them' }),
      ...detailFields,
    })
    .superRefine(({ choice, strength, edit }, context) => {
      if (isStrict(choice)) return;
      for (const [field, value] of Object.entries({ strength, edit }))
        if (value != null)
          context.addIssue({ code: 'custom', path: [field], message: 'is only for the choice a or b; leave it out' });
    }),
  response: reservationSchema,
  async handler({ ports, context, commit, param, body }) {
    assertMayDemonstrate(context, body.edit, 'edit');
    const { details, isRedacted } = await redactDetails(ports.redact, body);
    const { strength = null, seconds = null, comment = null, edit = null } = details;
    const said = { strength, seconds, comment, edit, tags: details.tags ?? [], redacted: isRedacted };
    return commit(async (transaction) => {
      const found = await findReservation(transaction, context, param('id'));
      const choice = toShown(body.choice, found);
      const { reservation, stored } = await castVote(transaction, found, { ...said, choice });
      if (stored) {
        const { chosen_generation_id: chosen, rejected_generation_id: rejected } = stored.vote;
        context.get('record').vote = { choice, chosen, rejected };
      }
      // Also of a vote that is no preference, which a key is not to tell by what it has left.
      if (choice !== 'skip') await countRows(transaction, getRowQuota(context), edit === null ? 1 : 2);
      return describeReservation(transaction, reservation);
    });
  },
});

export const undoReservationVote = defineOperation({
  scopes: SCOPES,
  summary: 'Undoes the vote on a reserved item, until a round has used it; the item is reserved again',
  response: reservationSchema,
  handler: ({ ports, context, param }) =>
    ports.db.transaction(async (transaction) => {
      const found = await findReservation(transaction, context, param('id'));
      return describeReservation(transaction, await undoVote(transaction, found));
    }),
});

/** Of whoever reserved it. */
async function findReservation(db: Pick<Database, 'select'>, context: Context, id: string): Promise<ReservationRow> {
  const tenant = getReadableTenant(context);
  const [row] = await db
    .select()
    .from(reservations)
    .where(
      and(
        eq(reservations.id, id),
        eq(reservations.created_by, getCallerId(context)),
        tenant === null ? undefined : eq(reservations.tenant, tenant),
        isNull(reservations.erased_at),
      ),
    );
  if (!row) throw notFound('reservation of yours', id);
  return row;
}
