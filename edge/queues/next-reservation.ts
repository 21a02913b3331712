// The next item for a rater, with both sides. They are generated when the item is first reserved, outside of any transaction;
// of two raters who reserve it at once, the sides of the first are stored, and both are shown these.

import { and, eq } from 'drizzle-orm';
import type { Owner } from '../../shared/access/owner.ts';
import { countRows } from '../../shared/access/row-quota.ts';
import { completions, generations, queue_items, reservations } from '../../shared/database/schema.ts';
import { editSimilarity } from '../../shared/edit-similarity.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Refusal } from '../../shared/queues/admission.ts';
import { type GivenCompletion, toGivenCompletion } from '../../shared/queues/insert-items.ts';
import { type ItemRow, lockItem } from '../../shared/queues/lock-item.ts';
import type { QueueRow } from '../../shared/queues/queues.ts';
import { type ReservationRow, type Reserved, reserveItem } from '../../shared/queues/reserve.ts';
import {
  decodeSides,
  type SidesDecoding,
  type SidesRequest,
  startSides,
  storeComparison,
  toComparisonRow,
} from '../comparisons/generate-sides.ts';
import type { Transaction } from '../http/idempotency.ts';
import type { Caller } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';

/** Items in one request whose sides were dropped, and how long it looks for another one. */
const [MAX_DROPPED, MAX_MS] = [10, 20_000];

/** Edit similarity of two responses, in characters, from which there is nothing to choose between. */
const NEARLY_THE_SAME = 0.9;

/** Null: there is no such queue. */
export async function findNext(
  ports: Ports,
  queueId: string,
  rater: string,
  owner: Owner,
  caller: Caller,
  options: { ahead: boolean },
): Promise<{ reservation: ReservationRow; item: ItemRow } | Refusal | null> {
  const startedAt = performance.now();
  let dropped = 0;
  while (dropped < MAX_DROPPED && performance.now() - startedAt < MAX_MS) {
    const reserved = await reserveItem(ports.db, queueId, rater, owner, options);
    if (!reserved || 'reason' in reserved) return reserved;
    const { reservation, item, queue } = reserved;
    let open: ItemRow | null = null;
    try {
      open = item.comparison_id === null ? await generateItem(ports, queue, item, caller) : item;
    } finally {
      // Also if it failed: others need not wait for a place that nobody has.
      if (!open) await lapse(ports, reserved);
    }
    if (open) return { reservation, item: open };
    dropped++;
  }
  return {
    reason: 'empty',
    message: `the responses to ${dropped} items in a row could not be compared, and they were dropped; ask again for the next ones`,
  };
}

/** The item with its comparison; null if it was dropped. */
async function generateItem(ports: Ports, queue: QueueRow, item: ItemRow, caller: Caller): Promise<ItemRow | null> {
  let decoding: SidesDecoding;
  try {
    decoding = await startSides(ports, toRequest(queue, item), caller);
  } catch (error) {
    // What is wrong with the prompt is so for every rater.
    if (!(error instanceof AttuneError) || error.status !== 400) throw error;
    return settle(ports, item.id, (transaction) => drop(transaction, item.id, error.message));
  }
  const results = await decodeSides(decoding);
  const texts = [...(item.given === null ? [] : [item.given]), ...results.flatMap(({ rows }) => rows)].map((side) =>
    typeof side === 'string' ? side : side.text,
  );
  const similarity = editSimilarity(toCodePoints(texts[0]!), toCodePoints(texts[1]!), NEARLY_THE_SAME);
  if (similarity > 0) {
    const reason = `near_identical: the similarity of both responses is ${similarity.toFixed(2)}`;
    return settle(ports, item.id, (transaction) => drop(transaction, item.id, reason));
  }
  const given = item.given === null ? null : toGivenCompletion(item, item.given, item);
  const side = given && { ...given.generation, policy_id: given.completion.policy_id, redacted: item.redacted };
  const sides = await toComparisonRow(ports, decoding, results, { queueId: queue.id, given: side ?? undefined });
  return settle(ports, item.id, async (transaction) => {
    if (given) await storeGiven(transaction, given);
    await storeComparison(transaction, sides);
    const [open] = await transaction
      .update(queue_items)
      .set({ comparison_id: sides.row.id, state: 'open' })
      .where(eq(queue_items.id, item.id))
      .returning();
    await countRows(transaction, caller.rowQuota, 1);
    return open!;
  });
}

function toRequest({ settings }: QueueRow, { prompt, tenant, created_by }: ItemRow): SidesRequest {
  const { pairing, temperature, max_tokens: defaultMaxTokens } = settings;
  const shared = { prompt, temperature, defaultMaxTokens, owner: { tenant, created_by } };
  if (pairing.type === 'policies') return { ...shared, models: pairing.policies as [string, string] };
  if (pairing.type === 'canary') return { ...shared, models: [undefined] };
  return { ...shared, models: [pairing.policy], ...(pairing.type === 'given' ? { count: 1 } : {}) };
}

/** Changes the item unless another request has done so meanwhile; null if it was dropped. */
async function settle(
  ports: Ports,
  id: string,
  change: (transaction: Transaction) => Promise<ItemRow | null>,
): Promise<ItemRow | null> {
  return ports.db.transaction(async (transaction) => {
    const current = await lockItem(transaction, id);
    if (!current || current.erased_at || current.state === 'dropped') return null;
    return current.comparison_id === null ? change(transaction) : current;
  });
}

async function drop(transaction: Transaction, id: string, reason: string): Promise<null> {
  await transaction.update(queue_items).set({ state: 'dropped', reason }).where(eq(queue_items.id, id));
  return null;
}

async function storeGiven(transaction: Transaction, { completion, generation }: GivenCompletion): Promise<void> {
  await transaction.insert(completions).values(completion);
  await transaction.insert(generations).values(generation);
}

/** The reservation of an item without sides; the rater gets another one. */
async function lapse({ db }: Ports, { reservation }: Reserved): Promise<void> {
  const isOpen = and(eq(reservations.id, reservation.id), eq(reservations.state, 'open'));
  await db.update(reservations).set({ state: 'lapsed' }).where(isOpen);
}

function toCodePoints(text: string): number[] {
  return Array.from(text, (character) => character.codePointAt(0)!);
}
