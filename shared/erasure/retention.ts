// RETENTION_DAYS: completions and comparisons that nobody voted on, or gave feedback on, are deleted, and so are the items of
// closed queues. Ids sort by time, so a cursor over them moves forward once: a row that it has passed is gone, was voted on by
// then, belongs to a queue, or is a tombstone, and is never read again.
import { and, asc, eq, gt, inArray, isNotNull, isNull, lt, notExists, or } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import {
  comparisons,
  completions,
  feedback,
  generations,
  preferences,
  queue_items,
  queues,
  reservations,
  retention_progress,
} from '../database/schema.ts';
import { log } from '../log.ts';
import type { Settings } from '../settings.ts';

/** Comparisons are deleted together with the completions that were made for them. */
const KINDS = ['cmp_', 'chatcmpl-', 'cmpl-'] as const;
type Kind = (typeof KINDS)[number];

const BATCH_ROWS = 500;
/** Of each kind, at one tick of the schedule. */
const MAX_BATCHES = 20;
const DAY_MS = 86_400_000;

/** Returns the number of completions that were deleted. Several processes may call it at once: they take turns by batch. */
export async function applyRetention(
  db: Database,
  { RETENTION_DAYS: days }: Pick<Settings, 'RETENTION_DAYS'>,
  maxBatches = MAX_BATCHES,
): Promise<number> {
  if (days === undefined) return 0;
  const before = new Date(Date.now() - days * DAY_MS);
  let deleted = 0;
  for (const kind of KINDS) {
    // Only at first: an insert waits for whoever has the row.
    if ((await db.$count(retention_progress, eq(retention_progress.kind, kind))) === 0)
      await db.insert(retention_progress).values({ kind, after_id: kind }).onConflictDoNothing();
    for (let batch = 0; batch < maxBatches; batch++) {
      const result = await deleteBatch(db, kind, before);
      deleted += result.deleted;
      if (result.passed < BATCH_ROWS) break;
    }
  }
  for (let batch = 0; batch < maxBatches; batch++) {
    const result = await deleteClosedItems(db, before);
    deleted += result.deleted;
    if (result.passed < BATCH_ROWS) break;
  }
  if (deleted > 0)
    log.info(
      'retention',
      `deleted ${deleted} completions and comparisons older than ${days} days that nobody voted on`,
    );
  return deleted;
}

/** `passed`: the rows that the cursor has moved over; 0 if another process is at this kind. */
function deleteBatch(db: Database, kind: Kind, before: Date): Promise<{ passed: number; deleted: number }> {
  return db.transaction(async (transaction) => {
    const [cursor] = await transaction
      .select()
      .from(retention_progress)
      .where(eq(retention_progress.kind, kind))
      .for('update', { skipLocked: true });
    if (!cursor) return { passed: 0, deleted: 0 };
    const table = kind === 'cmp_' ? comparisons : completions;
    const page = await transaction
      .select({ id: table.id, erased_at: table.erased_at })
      .from(table as typeof comparisons)
      .where(and(gt(table.id, cursor.after_id), lt(table.id, kind + toIdTime(before))))
      .orderBy(asc(table.id))
      .limit(BATCH_ROWS);
    if (page.length === 0) return { passed: 0, deleted: 0 };
    const ids = page.filter(({ erased_at }) => erased_at === null).map(({ id }) => id);
    const deleted =
      kind === 'cmp_' ? await deleteComparisons(transaction, ids) : await deleteCompletions(transaction, ids);
    await transaction
      .update(retention_progress)
      .set({ after_id: page.at(-1)!.id })
      .where(eq(retention_progress.kind, kind));
    return { passed: page.length, deleted };
  });
}

/** Items of queues that are closed, and that nobody voted on, with what was made for them. */
function deleteClosedItems(db: Database, before: Date): Promise<{ passed: number; deleted: number }> {
  return db.transaction(async (transaction) => {
    const votes = transaction
      .select()
      .from(reservations)
      .where(and(eq(reservations.item_id, queue_items.id), eq(reservations.state, 'voted')));
    const items = await transaction
      .select({ id: queue_items.id, comparison: queue_items.comparison_id, drawnFrom: queue_items.drawn_from })
      .from(queue_items)
      .innerJoin(queues, eq(queues.id, queue_items.queue_id))
      .where(
        and(
          eq(queues.status, 'closed'),
          eq(queue_items.kind, 'rated'),
          eq(queue_items.reviews, 0),
          lt(queue_items.id, `item_${toIdTime(before)}`),
          isNull(queue_items.erased_at),
          notExists(votes),
        ),
      )
      .limit(BATCH_ROWS)
      .for('update', { of: queue_items, skipLocked: true });
    if (items.length === 0) return { passed: 0, deleted: 0 };
    const ids = items.map(({ id }) => id);
    await transaction.delete(reservations).where(inArray(reservations.item_id, ids));
    await transaction.delete(queue_items).where(inArray(queue_items.id, ids));
    const shown = items.flatMap(({ comparison }) => comparison ?? []);
    const sides = await listSides(transaction, shown);
    const drawn = items.flatMap(({ drawnFrom }) => (drawnFrom && isOld(drawnFrom, before) ? drawnFrom : []));
    const locked = await lockCompletions(transaction, [...sides, ...drawn]);
    await transaction.delete(comparisons).where(inArray(comparisons.id, shown));
    const deleted = await deleteUnrated(
      transaction,
      locked.map(({ id }) => id),
    );
    return { passed: items.length, deleted };
  });
}

function isOld(id: string, before: Date): boolean {
  return id.slice(id.search(/[-_]/) + 1) < toIdTime(before);
}

/** The time as ids begin with it: the first 48 bits of a UUIDv7. */
function toIdTime(date: Date): string {
  return date.getTime().toString(16).padStart(12, '0');
}

async function deleteComparisons(transaction: Database, ids: string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const isSide = or(eq(comparisons.a_generation_id, generations.id), eq(comparisons.b_generation_id, generations.id));
  const locked = await lockCompletions(transaction, await listSides(transaction, ids));
  const votes = transaction.select().from(preferences).where(eq(preferences.comparison_id, comparisons.id));
  const hasVotes = transaction.select().from(generations).innerJoin(preferences, isRated()).where(isSide);
  const hasFeedback = transaction
    .select()
    .from(generations)
    .innerJoin(feedback, eq(feedback.generation_id, generations.id))
    .where(isSide);
  await transaction.delete(comparisons).where(
    and(
      inArray(comparisons.id, ids),
      // A queue's go with their items.
      isNull(comparisons.queue_id),
      notExists(votes),
      notExists(hasVotes),
      notExists(hasFeedback),
    ),
  );
  return deleteUnrated(
    transaction,
    locked.map(({ id }) => id),
  );
}

/** The completions of both sides. */
async function listSides(transaction: Database, comparisonIds: string[]): Promise<string[]> {
  const isSide = or(eq(comparisons.a_generation_id, generations.id), eq(comparisons.b_generation_id, generations.id));
  const rows = await transaction
    .selectDistinct({ id: generations.completion_id })
    .from(comparisons)
    .innerJoin(generations, isSide)
    .where(inArray(comparisons.id, comparisonIds));
  return rows.map(({ id }) => id);
}

async function deleteCompletions(transaction: Database, ids: string[]): Promise<number> {
  const own = await lockCompletions(transaction, ids);
  // The sides of comparisons go with these.
  return deleteUnrated(
    transaction,
    own.filter(({ kind }) => kind !== 'comparison').map(({ id }) => id),
  );
}

/** Waits for votes on them that are not yet committed, and makes later ones wait, which then find none. */
function lockCompletions(transaction: Database, ids: string[]) {
  return transaction
    .select({ id: completions.id, kind: completions.kind })
    .from(completions)
    .where(and(inArray(completions.id, ids), isNull(completions.erased_at)))
    .orderBy(asc(completions.id))
    .for('update');
}

/** Deletes those of the locked completions that have no vote, no feedback and no comparison, and that no item was drawn from. */
async function deleteUnrated(transaction: Database, ids: string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const isShown = or(eq(comparisons.a_generation_id, generations.id), eq(comparisons.b_generation_id, generations.id));
  const used = await transaction
    .selectDistinct({ id: generations.completion_id })
    .from(generations)
    .leftJoin(preferences, isRated())
    .leftJoin(feedback, eq(feedback.generation_id, generations.id))
    .leftJoin(comparisons, isShown)
    .leftJoin(queue_items, eq(queue_items.drawn_from, generations.completion_id))
    .where(
      and(
        inArray(generations.completion_id, ids),
        or(isNotNull(preferences.id), isNotNull(feedback.id), isNotNull(comparisons.id), isNotNull(queue_items.id)),
      ),
    );
  const kept = new Set(used.map(({ id }) => id));
  const unrated = ids.filter((id) => !kept.has(id));
  if (unrated.length === 0) return 0;
  await transaction.delete(generations).where(inArray(generations.completion_id, unrated));
  await transaction.delete(completions).where(inArray(completions.id, unrated));
  return unrated.length;
}

function isRated() {
  return or(
    eq(preferences.chosen_generation_id, generations.id),
    eq(preferences.rejected_generation_id, generations.id),
  );
}
