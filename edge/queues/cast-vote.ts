// A vote on a reserved item, changed and undone until a round has used it. It is stored with the state of its reservation and
// the counts of its item in one transaction. Votes that measure the rater stay with the reservation: no round learns from them.

import { and, eq, or, sql } from 'drizzle-orm';
import {
  type Choice,
  comparisons,
  generations,
  preferences,
  queue_items,
  reservations,
} from '../../shared/database/schema.ts';
import { retractVote } from '../../shared/erasure/revise.ts';
import { AttuneError } from '../../shared/error.ts';
import { assertEditImproves, isStrict, type StoredVote } from '../../shared/preferences/vote-details.ts';
import { assertAdmitted } from '../../shared/queues/admission.ts';
import { hasRoom, type ItemRow, lapseOthers, lockItem } from '../../shared/queues/lock-item.ts';
import { lockQueue, type QueueRow } from '../../shared/queues/queues.ts';
import { checkGold, lockStanding, type Standing, settleCalibration } from '../../shared/queues/rater-standing.ts';
import { type ReservationRow, reopen } from '../../shared/queues/reserve.ts';
import { notFound } from '../http/errors.ts';
import type { Transaction } from '../http/idempotency.ts';
import { storePreference } from '../preferences/store-preference.ts';
import type { Answer } from './describe-reservation.ts';

export type CastVote = Answer & { seconds: number | null; redacted: boolean };

/** `isHeld`: the reservation is open, and has not expired. */
type Locked = { queue: QueueRow; standing: Standing; item: ItemRow; reservation: ReservationRow; isHeld: boolean };

/** `stored`: null if the vote is no preference. */
export async function castVote(
  transaction: Transaction,
  found: ReservationRow,
  vote: CastVote,
): Promise<{ reservation: ReservationRow; stored: StoredVote | null }> {
  const locked = await lock(transaction, found);
  const { reservation, queue } = locked;
  assertFits(vote, queue);
  await assertAdmitted(transaction, queue, locked.standing, locked);
  const item = await takeBack(transaction, locked);
  const current = { ...locked, item };
  await lapseOthers(transaction, reservation);
  if (vote.choice === 'skip') return skip(transaction, current, vote);
  if (reservation.state === 'lapsed' || reservation.state === 'skipped')
    await assertPlace(transaction, queue, item, reservation);
  return store(transaction, current, vote);
}

/** The item is reserved again, for as long as the first time. */
export async function undoVote(transaction: Transaction, found: ReservationRow): Promise<ReservationRow> {
  const locked = await lock(transaction, found);
  const { reservation, queue } = locked;
  if (reservation.state === 'open' || reservation.state === 'lapsed')
    throw new AttuneError(`${reservation.id} has no vote to undo`, {
      status: 409,
      param: 'id',
      code: 'not_voted',
      retry: false,
    });
  await assertAdmitted(transaction, queue, locked.standing, locked);
  const item = await takeBack(transaction, locked);
  if (reservation.state === 'skipped' || reservation.requeued) await assertPlace(transaction, queue, item, reservation);
  return reopen(transaction, queue, reservation.id);
}

/** In the order in which whoever else locks them does. */
async function lock(transaction: Transaction, { id, queue_id, rater, item_id }: ReservationRow): Promise<Locked> {
  const queue = await lockQueue(transaction, queue_id, 'share');
  const standing = await lockStanding(transaction, queue_id, rater);
  const item = await lockItem(transaction, item_id);
  const [found] = await transaction
    .select({ reservation: reservations, isCurrent: sql<boolean>`${reservations.expires_at} > clock_timestamp()` })
    .from(reservations)
    .where(eq(reservations.id, id))
    .for('update');
  const reservation = found?.reservation;
  if (!queue || !item || item.erased_at || !reservation || reservation.erased_at) throw notFound('reservation', id);
  if (item.state === 'dropped' || item.comparison_id === null)
    throw new AttuneError(`${id} has no responses to vote on`, { status: 409, param: 'id', code: 'not_generated' });
  return { queue, standing, item, reservation, isHeld: reservation.state === 'open' && found!.isCurrent };
}

function assertFits({ choice, strength, tags, edit }: CastVote, { settings, id }: QueueRow): void {
  const refuse = (param: string, problem: string) =>
    new AttuneError(`${param}: ${problem}`, { param, code: 'invalid_value' });
  if (strength !== null && settings.strength === 'off')
    throw refuse('strength', `${id} does not ask for it; leave it out`);
  if (strength === null && settings.strength === 'required' && isStrict(choice))
    throw refuse('strength', `${id} asks by how much; give slightly, clearly or much`);
  const unknown = settings.tags.length > 0 ? tags.find((tag) => !settings.tags.includes(tag)) : undefined;
  if (unknown !== undefined)
    throw refuse(
      'tags',
      `${JSON.stringify(unknown)} is none of the tags of ${id}; give of ${settings.tags.join(', ')}`,
    );
  if (edit !== null && !settings.edits) throw refuse('edit', `${id} does not take edits; leave it out`);
}

/** What the vote before has changed. Throws if it can be neither changed nor undone. */
async function takeBack(transaction: Transaction, { queue, standing, item, reservation }: Locked): Promise<ItemRow> {
  const { id, state, purpose, created_by, tenant, finished_at } = reservation;
  if (state === 'open' || state === 'lapsed') return item;
  const refuse = (code: string, problem: string) =>
    new AttuneError(`${id} ${problem}; it cannot be changed`, { status: 409, param: 'id', code, retry: false });
  if (purpose === 'calibration') throw refuse('answer_shown', 'was answered, and its right answer shown');
  if (queue.settings.reveal) throw refuse('answer_shown', 'was answered, and its policies shown');
  // Or a wrong answer to a gold item would become a right one. Not only of gold items, which are not to be told by this.
  if (standing.resumed_at && finished_at && finished_at < standing.resumed_at)
    throw refuse('rater_paused', 'was voted on before whoever runs the queue let you go on');
  if (purpose !== 'vote') return item;
  if (state === 'skipped') return changeItem(transaction, item, { skips: item.skips - 1 });
  const [vote] = await transaction
    .select({ id: preferences.id })
    .from(preferences)
    .where(and(eq(preferences.reservation_id, id), eq(preferences.source, 'comparison')));
  if (vote) await retractVote(transaction, vote.id, { tenant, created_by, reservation_id: id });
  if (reservation.requeued) return item;
  const reviews = item.reviews - 1;
  return changeItem(transaction, item, { reviews, state: toState(reviews, queue) });
}

/** A reservation that has lost its place, or had given it up, gets it again if nobody else has it. */
async function assertPlace(
  transaction: Transaction,
  queue: QueueRow,
  item: ItemRow,
  { id, purpose, rater }: ReservationRow,
): Promise<void> {
  if (purpose !== 'vote' || (await hasRoom(transaction, item, queue, rater))) return;
  throw lapsed(id);
}

export function lapsed(id: string): AttuneError {
  return new AttuneError(`${id} has lapsed, and its item was given to somebody else; ask for the next one`, {
    status: 409,
    param: 'id',
    code: 'reservation_lapsed',
    retry: false,
  });
}

async function skip(transaction: Transaction, { queue, standing, item, reservation }: Locked, vote: CastVote) {
  const { purpose } = reservation;
  if (purpose === 'vote') await changeItem(transaction, item, { skips: item.skips + 1 });
  const finished = await finish(transaction, reservation, { state: 'skipped', remarks: toRemarks(vote) });
  if (purpose === 'calibration') await settleCalibration(transaction, queue, standing);
  if (purpose === 'gold') await checkGold(transaction, queue, standing);
  return { reservation: finished, stored: null };
}

async function store(transaction: Transaction, { queue, standing, item, reservation }: Locked, vote: CastVote) {
  const { choice, strength, tags, comment, edit, seconds, redacted } = vote;
  const { purpose, id, rater, tenant, created_by } = reservation;
  if (purpose !== 'vote') {
    // As for a vote that becomes a preference.
    if (edit !== null) assertEditImproves(edit, await findTexts(transaction, item.comparison_id!, choice));
    const answer = { choice, strength, seconds, remarks: toRemarks(vote) };
    const finished = await finish(transaction, reservation, { state: 'voted', ...answer });
    if (purpose === 'calibration') await settleCalibration(transaction, queue, standing);
    if (purpose === 'gold') await checkGold(transaction, queue, standing);
    return { reservation: finished, stored: null };
  }
  const voter = { tenant, created_by, rater, readable: tenant, assertMayGive: () => {} };
  const details = { strength, tags, comment, seconds, edit, reservation_id: id };
  const body = { comparison: item.comparison_id!, choice };
  const stored = await storePreference(transaction, body, redacted, voter, details);
  const reviews = item.reviews + 1;
  if (!reservation.requeued) await changeItem(transaction, item, { reviews, state: toState(reviews, queue) });
  return { reservation: await finish(transaction, reservation, { state: 'voted' }), stored };
}

/** Of an item that has responses. It can have more reviews than its queue asks for now. */
function toState(reviews: number, { settings }: QueueRow): 'open' | 'done' {
  return reviews >= settings.reviews ? 'done' : 'open';
}

/** Of the side that was chosen, and of the other one. */
async function findTexts(transaction: Transaction, comparisonId: string, choice: Choice) {
  const isSide = or(eq(generations.id, comparisons.a_generation_id), eq(generations.id, comparisons.b_generation_id));
  const sides = await transaction
    .select({ text: generations.text, isA: sql<boolean>`${generations.id} = ${comparisons.a_generation_id}` })
    .from(comparisons)
    .innerJoin(generations, isSide)
    .where(eq(comparisons.id, comparisonId));
  const find = (isA: boolean) => sides.find((side) => side.isA === isA)!.text;
  return { chosen: find(choice === 'a'), rejected: find(choice !== 'a') };
}

function toRemarks({ tags, comment, edit }: CastVote) {
  return { tags, comment, edit };
}

async function changeItem(
  transaction: Transaction,
  item: ItemRow,
  changes: Partial<Pick<ItemRow, 'reviews' | 'skips' | 'state'>>,
): Promise<ItemRow> {
  const [row] = await transaction.update(queue_items).set(changes).where(eq(queue_items.id, item.id)).returning();
  return row!;
}

async function finish(
  transaction: Transaction,
  { id }: ReservationRow,
  fields: Partial<Pick<ReservationRow, 'state' | 'choice' | 'strength' | 'seconds' | 'remarks'>>,
): Promise<ReservationRow> {
  const cleared = { choice: null, strength: null, seconds: null, remarks: null };
  const [row] = await transaction
    .update(reservations)
    .set({ ...cleared, ...fields, finished_at: sql`clock_timestamp()` })
    .where(eq(reservations.id, id))
    .returning();
  return row!;
}
