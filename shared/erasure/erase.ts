// An erasure: the texts, token ids, metadata and names of a subject go from every table, in one transaction; the rows stay
// with their ids and digests. Locks are taken in one order: queues, raters' standing, items, completions, comparisons, the running round, activations, feedback,
// preferences, and last what votes write (totals, names), so that it waits for votes and rounds and never the other way too.
import { asc, eq, type SQL, sql } from 'drizzle-orm';
import { recordAudit } from '../access/audit.ts';
import type { Database } from '../database/connect.ts';
import { activations, erasures, rounds } from '../database/schema.ts';
import { sha256 } from '../digest.ts';
import { newId } from '../id.ts';
import { type BlankedPreference, blankFeedback, blankPreferences, blankTexts } from './blank-rows.ts';
import { type FoundTexts, findFeedback, findPreferences, findTexts } from './find-rows.ts';
import {
  eraseRater,
  forgetDemonstrations,
  forgetNames,
  forgetResponses,
  forgetResponsesTo,
  uncount,
} from './forget.ts';
import { forgetInEvents, forgetInResponses, forgetStanding } from './queue-names.ts';
import {
  blankItems,
  blankQueues,
  blankReservations,
  blankReservationsOf,
  listReservedItems,
  lockItems,
  matchQueueRows,
} from './queue-rows.ts';
import { isRaterId, matchRows, nothingToErase, type Subject } from './subject.ts';

export type ErasureRow = typeof erasures.$inferSelect;

/** Throws a 404 if there is nothing to erase. `actor`: who erases it. */
export async function erase(transaction: Database, subject: Subject, actor: string): Promise<ErasureRow> {
  const { kind, value, tenant } = subject;
  const erasedAt = await begin(transaction);
  const own = { ...matchRows(transaction, subject), ...matchQueueRows(subject) };
  const queueIds = await blankQueues(transaction, own.queues, erasedAt);
  const standings = await forgetStanding(transaction, subject, queueIds);
  const { texts, ...erased } = await eraseTexts(transaction, own, erasedAt);
  const counts = { ...erased.counts, preferences: 0, feedback: 0 };

  await transaction.select().from(rounds).where(eq(rounds.status, 'running')).orderBy(asc(rounds.id)).for('update');
  // An activation moves pairs into the ledger of new ones.
  await transaction.execute(sql`lock table ${activations} in share row exclusive mode`);
  const blanked: BlankedPreference[] = [];
  const feedbackIds: string[] = [];
  // Until there are none: one that is changed meanwhile is another row under its id.
  while (true) {
    const found = await findPreferences(transaction, own.preferences, texts);
    const ofFeedback = await findFeedback(transaction, own.feedback, texts);
    feedbackIds.push(...(await blankFeedback(transaction, ofFeedback, erasedAt)));
    await forgetDemonstrations(transaction, found);
    if (found.length === 0) break;
    blanked.push(...(await blankPreferences(transaction, found, erasedAt)));
  }
  counts.preferences = blanked.length;
  counts.feedback = feedbackIds.length;
  const reservationIds = await blankReservations(transaction, own.reservations, erasedAt);
  const ofVotes = await blankReservationsOf(transaction, blanked, erasedAt);
  const queued = [...queueIds, ...erased.queued, ...reservationIds, ...ofVotes];
  const isRater = kind === 'rater' && (await eraseRater(transaction, value, erasedAt));
  if (!isRater && standings + queued.length === 0 && Object.values(counts).every((count) => count === 0))
    throw nothingToErase(kind, value);

  const ids = [
    ...texts.completions,
    ...texts.generations,
    ...texts.comparisons,
    ...blanked.map(({ id }) => id),
    ...feedbackIds,
    ...queued,
    // Responses about a rater have the name.
    ...(kind === 'rater' ? [value] : []),
  ];
  await forgetResponses(transaction, ids);
  await forgetInResponses(transaction, subject);
  await forgetInEvents(transaction, subject);
  if (kind === 'rater' && isRaterId(value)) await forgetResponsesTo(transaction, value);
  await uncount(transaction, blanked);
  await forgetNames(transaction, blanked);
  const [row] = await transaction
    .insert(erasures)
    .values({
      id: newId('ersr_'),
      subject: kind,
      subject_hash: sha256(value),
      counts,
      tenant,
      created_by: actor,
      created_at: erasedAt,
    })
    .returning();
  const details = { subject: kind, tenant, erased: counts };
  await recordAudit(transaction, { actor, action: 'erasure.created', target: row!.id, details });
  return row!;
}

type OwnRows = ReturnType<typeof matchRows> & ReturnType<typeof matchQueueRows>;

/** `queued`: the ids of blanked items and their reservations. */
async function eraseTexts(transaction: Database, own: OwnRows, erasedAt: SQL<Date>) {
  let texts = await findTexts(transaction, own);
  const reserved = await listReservedItems(transaction, own.reservations, own.preferences);
  const items = [...new Set([...texts.items, ...reserved])].sort();
  if (items.length > 0) {
    await lockItems(transaction, items);
    // Responses to an item may have been stored before it was locked.
    texts = await findTexts(transaction, own);
  }
  const counts = { completions: 0, comparisons: 0 };
  const queued: string[] = [];
  const all: FoundTexts = { completions: [], generations: [], comparisons: [], items: [] };
  while (true) {
    queued.push(...(await blankItems(transaction, texts.items, erasedAt)));
    const blanked = await blankTexts(transaction, texts, erasedAt);
    counts.completions += blanked.completions;
    counts.comparisons += blanked.comparisons;
    for (const name of Object.keys(all) as (keyof FoundTexts)[]) all[name].push(...texts[name]);
    // An item that was drawn from a completion until it was locked.
    const late = await findTexts(transaction, {}, texts.completions);
    if (late.items.length === 0) return { texts: all, counts, queued };
    texts = late;
  }
}

/** The time of this erasure, which no other one has: they wait for each other here. */
async function begin(transaction: Database): Promise<SQL<Date>> {
  await transaction.execute(sql`set local statement_timeout = 0`);
  await transaction.execute(sql`lock table ${erasures} in share row exclusive mode`);
  const [now] = await transaction.execute<{ at: string }>(sql`select clock_timestamp()::text as at`);
  return sql<Date>`${now!.at}::timestamptz`;
}
