// The next item for a rater, with both sides. They are generated when the item is first reserved, outside of any transaction;
// of two raters who reserve it at once, the sides of the first are stored, and both are shown these.

import { and, eq } from 'drizzle-orm';
import type { Owner } from '../../shared/access/owner.ts';
import { countRows, type RowQuota } from '../../shared/access/row-quota.ts';
import { comparisons, completions, generations, queue_items, reservations } from '../../shared/database/schema.ts';
import { editSimilarity } from '../../shared/edit-similarity.ts';
import { AttuneError } from '../../shared/error.ts';
import { toGivenCompletion } from '../../shared/queues/insert-items.ts';
import { type ItemRow, lockItem } from '../../shared/queues/lock-item.ts';
import type { QueueRow } from '../../shared/queues/queues.ts';
import { type Refusal, type ReservationRow, type Reserved, reserveItem } from '../../shared/queues/reserve.ts';
import { createComparisonRow, generateSides, type Side, toSides } from '../comparisons/generate-sides.ts';
import { redactResults } from '../generation/redact-results.ts';
import type { CompletionResult } from '../generation/select-choices.ts';
import { storeCompletions } from '../generation/store.ts';
import type { Transaction } from '../http/idempotency.ts';
import type { Caller } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';

/** Items in one request whose sides were dropped. */
const MAX_DROPPED = 10;

/** Edit similarity of two responses, in characters, from which there is nothing to choose between. */
const NEARLY_THE_SAME = 0.9;

/** Null: there is no such queue. */
export async function findNext(
  ports: Ports,
  queueId: string,
  rater: string,
  owner: Owner,
  caller: Caller,
): Promise<{ reservation: ReservationRow; item: ItemRow } | Refusal | null> {
  for (let dropped = 0; dropped < MAX_DROPPED; dropped++) {
    const reserved = await reserveItem(ports.db, queueId, rater, owner);
    if (!reserved || 'reason' in reserved) return reserved;
    const { reservation, item, queue } = reserved;
    const open = item.comparison_id === null ? await generateItem(ports, queue, item, caller) : item;
    if (open) return { reservation, item: open };
    await lapse(ports, reserved);
  }
  return {
    reason: 'empty',
    message: `the responses to ${MAX_DROPPED} items in a row could not be compared, and they were dropped; ask again for the next ones`,
  };
}

/** The item with its comparison; null if it was dropped. */
async function generateItem(ports: Ports, queue: QueueRow, item: ItemRow, caller: Caller): Promise<ItemRow | null> {
  let results: CompletionResult[];
  try {
    results = await generateSides(ports, item.prompt, toRequest(queue, item), caller);
  } catch (error) {
    // What is wrong with the prompt is so for every rater.
    if (!(error instanceof AttuneError) || error.status !== 400) throw error;
    return settle(ports, item.id, (transaction) => drop(transaction, item.id, error.message));
  }
  const texts = [...(item.given === null ? [] : [item.given]), ...toSides(results).map(({ text }) => text)];
  const similarity = editSimilarity(toCodePoints(texts[0]!), toCodePoints(texts[1]!), NEARLY_THE_SAME);
  if (similarity > 0 || texts[0] === texts[1]) {
    const reason = `near_identical: the similarity of both responses is ${similarity.toFixed(2)}`;
    return settle(ports, item.id, (transaction) => drop(transaction, item.id, reason));
  }
  const stored = await redactResults(ports.redact, results);
  return settle(ports, item.id, (transaction, current) => attach(transaction, queue, current, stored, caller.rowQuota));
}

function toRequest({ settings }: QueueRow, { tenant, created_by }: ItemRow) {
  const { pairing, temperature, max_tokens } = settings;
  const shared = { temperature, max_tokens, owner: { tenant, created_by } };
  if (pairing.type === 'policies') return { ...shared, models: pairing.policies };
  return { ...shared, model: pairing.policy, count: pairing.type === 'given' ? (1 as const) : (2 as const) };
}

/** Changes the item unless another request has done so meanwhile; null if it was dropped. */
async function settle(
  ports: Ports,
  id: string,
  change: (transaction: Transaction, current: ItemRow) => Promise<ItemRow | null>,
): Promise<ItemRow | null> {
  return ports.db.transaction(async (transaction) => {
    const current = await lockItem(transaction, id);
    if (!current || current.erased_at || current.state === 'dropped') return null;
    return current.comparison_id === null ? change(transaction, current) : current;
  });
}

async function drop(transaction: Transaction, id: string, reason: string): Promise<null> {
  await transaction.update(queue_items).set({ state: 'dropped', reason }).where(eq(queue_items.id, id));
  return null;
}

async function attach(
  transaction: Transaction,
  queue: QueueRow,
  item: ItemRow,
  results: CompletionResult[],
  quota: RowQuota | null,
): Promise<ItemRow> {
  const owner = { tenant: item.tenant, created_by: item.created_by };
  await storeCompletions(transaction, results);
  const sides = toSides(results);
  if (item.given !== null) sides.unshift(await storeGiven(transaction, item, item.given, owner));
  const { request } = results[0]!.completion;
  const row = createComparisonRow(sides, { prompt: request.prompt, metadata: null, queue_id: queue.id, ...owner });
  await transaction.insert(comparisons).values(row);
  const [open] = await transaction
    .update(queue_items)
    .set({ comparison_id: row.id, state: 'open' })
    .where(eq(queue_items.id, item.id))
    .returning();
  await countRows(transaction, quota, 1);
  return open!;
}

async function storeGiven(transaction: Transaction, item: ItemRow, text: string, owner: Owner): Promise<Side> {
  const { completion, generation } = toGivenCompletion(item, text, owner);
  await transaction.insert(completions).values(completion);
  await transaction.insert(generations).values(generation);
  return { ...generation, policy_id: completion.policy_id, redacted: item.redacted };
}

/** The reservation of a dropped item; the rater gets another one. */
async function lapse({ db }: Ports, { reservation }: Reserved): Promise<void> {
  const isOpen = and(eq(reservations.id, reservation.id), eq(reservations.state, 'open'));
  await db.update(reservations).set({ state: 'lapsed' }).where(isOpen);
}

function toCodePoints(text: string): number[] {
  return Array.from(text, (character) => character.codePointAt(0)!);
}
