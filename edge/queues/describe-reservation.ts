// A reservation as its rater sees it: the sides in the order in which they are shown, and the same for every purpose but
// calibration, so that a gold item looks like any other.

import { z } from '@hono/zod-openapi';
import { and, eq, inArray, isNotNull } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { selectGenerations } from '../../shared/database/generations.ts';
import {
  type Choice,
  comparisons,
  generations,
  preferences,
  queue_items,
  queues,
  type Remarks,
  type Strength,
} from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import type { ItemRow } from '../../shared/queues/lock-item.ts';
import type { QueueRow } from '../../shared/queues/queues.ts';
import type { ReservationRow } from '../../shared/queues/reserve.ts';
import type { Side } from '../comparisons/generate-sides.ts';
import { promptSchema } from '../http/messages.ts';
import { toUnixSeconds } from '../http/resource.ts';

export const CHOICES = ['a', 'b', 'tie', 'both_bad', 'skip'] as const;
const STRENGTHS = ['slightly', 'clearly', 'much'] as const;

/** Without its finish_reason, which tells a given response, as gold items have, from one that reached its limit of tokens. */
const side = z.object({ text: z.string() });

export const reservationSchema = z
  .object({
    id: z.string(),
    object: z.literal('reservation'),
    created: z.number(),
    queue: z.string(),
    expires_at: z.number(),
    prompt: promptSchema,
    a: side,
    b: side,
    purpose: z.enum(['calibration', 'vote']),
    guidelines_version: z.number(),
    state: z.enum(['open', 'voted', 'skipped', 'lapsed']),
    choice: z.enum(CHOICES).nullable().openapi({ description: 'of the sides as they are shown here' }),
    strength: z.enum(STRENGTHS).nullable(),
    tags: z.array(z.string()),
    comment: z.string().nullable(),
    edit: z.string().nullable(),
    expected: z.enum(CHOICES).nullable().openapi({ description: 'of a calibration item, after the vote' }),
    explanation: z.string().nullable(),
    policies: z
      .object({ a: z.string(), b: z.string() })
      .nullable()
      .openapi({ description: 'after the vote, if the queue reveals them' }),
  })
  .openapi('Reservation');

export type ReservationResponse = z.output<typeof reservationSchema>;

/** What a rater has said of an item, in terms of the comparison's own sides. */
export type Answer = { choice: Choice; strength: Strength | null } & Remarks;

type Reader = Pick<Database, 'select'>;

/** `given`: what the request that this responds to says, before redaction. */
export async function describeReservation(
  db: Reader,
  reservation: ReservationRow,
  given?: Answer | null,
): Promise<ReservationResponse> {
  const [found] = await db
    .select({ queue: queues, item: queue_items, comparison: comparisons })
    .from(queue_items)
    .innerJoin(queues, eq(queues.id, queue_items.queue_id))
    .leftJoin(comparisons, eq(comparisons.id, queue_items.comparison_id))
    .where(eq(queue_items.id, reservation.item_id));
  const { item, comparison, queue } = found!;
  if (!comparison)
    throw new AttuneError(
      `${reservation.id} has no responses yet; POST /v1/queues/${reservation.queue_id}/next generates them`,
      { status: 409, param: 'id', code: 'not_generated' },
    );
  const ids = [comparison.a_generation_id, comparison.b_generation_id];
  const sides = await selectGenerations(db).where(inArray(generations.id, ids));
  const [a, b] = ids.map((id): Side => sides.find((row) => row.id === id)!) as [Side, Side];
  const isFinished = reservation.state === 'voted' || reservation.state === 'skipped';
  const answer = isFinished ? (given ?? (await findAnswer(db, reservation))) : null;
  return toResponse(reservation, { queue, item, a, b, answer });
}

function toResponse(
  reservation: ReservationRow,
  shown: { queue: QueueRow; item: ItemRow; a: Side; b: Side; answer: Answer | null },
): ReservationResponse {
  const { queue, item, answer } = shown;
  const [a, b] = reservation.swapped ? [shown.b, shown.a] : [shown.a, shown.b];
  const isCalibration = reservation.purpose === 'calibration';
  const isKnown = isCalibration && answer !== null;
  return {
    id: reservation.id,
    object: 'reservation',
    created: toUnixSeconds(reservation.created_at),
    queue: reservation.queue_id,
    expires_at: toUnixSeconds(reservation.expires_at),
    prompt: item.prompt,
    a: { text: a.text },
    b: { text: b.text },
    purpose: isCalibration ? 'calibration' : 'vote',
    guidelines_version: reservation.guidelines_version,
    state: reservation.state,
    choice: answer && toShown(answer.choice, reservation),
    strength: answer?.strength ?? null,
    tags: answer?.tags ?? [],
    comment: answer?.comment ?? null,
    edit: answer?.edit ?? null,
    expected: isKnown && item.expected ? toShown(item.expected, reservation) : null,
    explanation: isKnown ? item.explanation : null,
    policies: answer && queue.settings.reveal ? { a: a.policy_id, b: b.policy_id } : null,
  };
}

/** Between the sides as they are shown and the comparison's own; its own inverse. */
export function toShown(choice: Choice, { swapped }: Pick<ReservationRow, 'swapped'>): Choice {
  if (!swapped || (choice !== 'a' && choice !== 'b')) return choice;
  return choice === 'a' ? 'b' : 'a';
}

async function findAnswer(db: Reader, reservation: ReservationRow): Promise<Answer | null> {
  const { state, choice, strength, remarks } = reservation;
  const said = remarks ?? { tags: [], comment: null, edit: null };
  if (choice !== null) return { choice, strength, ...said };
  if (state === 'skipped') return { choice: 'skip', strength: null, ...said };
  const [vote] = await db
    .select()
    .from(preferences)
    .where(and(eq(preferences.reservation_id, reservation.id), eq(preferences.source, 'comparison')));
  if (!vote) return null;
  const [edit] = await db
    .select({ text: preferences.chosen })
    .from(preferences)
    .where(and(isNotNull(preferences.edit_of), eq(preferences.edit_of, vote.id)));
  return {
    choice: vote.choice,
    strength: vote.strength,
    tags: vote.tags,
    comment: vote.comment,
    edit: edit?.text ?? null,
  };
}
