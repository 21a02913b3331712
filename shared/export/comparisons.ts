// Reads the comparisons of a tenant with all their votes, oldest first, a page in memory at a time.

import { and, asc, eq, getTableColumns, gt, gte, inArray, isNotNull, isNull, lt, or, type SQL } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { type StoredGeneration, selectGenerations } from '../database/generations.ts';
import { readPages } from '../database/read-pages.ts';
import { comparisons, generations, preferences, queue_items, queues, reservations } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { getTrust } from '../preferences/trust.ts';
import { listEdits } from '../preferences/vote-details.ts';
import type { ComparisonRecord, ReservationRecord, SideRecord, VoteRecord } from './record.ts';

/** `since` and `until`: of the comparisons' creation; the first is included, the second is not. */
export type ComparisonFilter = {
  tenant: string;
  queue?: string | undefined;
  since?: Date | undefined;
  until?: Date | undefined;
};

/** Each has two texts of thousands of tokens. */
const COMPARISONS_AT_ONCE = 100;

export function matchComparisons({ tenant, queue, since, until }: ComparisonFilter): SQL | undefined {
  return and(
    eq(comparisons.tenant, tenant),
    isNull(comparisons.erased_at),
    queue === undefined ? undefined : eq(comparisons.queue_id, queue),
    since && gte(comparisons.created_at, since),
    until && lt(comparisons.created_at, until),
  );
}

/** Throws if the filter names a queue that its tenant does not have. */
export async function assertQueueExists(db: Database, { tenant, queue }: ComparisonFilter): Promise<void> {
  if (queue === undefined) return;
  const isQueue = and(eq(queues.id, queue), eq(queues.tenant, tenant), isNull(queues.erased_at));
  if ((await db.$count(queues, isQueue)) > 0) return;
  throw new AttuneError(`queue: there is no queue ${queue}; give the id of a queue, or leave it out`, {
    status: 404,
    param: 'queue',
    code: 'not_found',
  });
}

export function countComparisons(db: Database, filter: ComparisonFilter): Promise<number> {
  return db.$count(comparisons, matchComparisons(filter));
}

export function readComparisons(db: Database, filter: ComparisonFilter): AsyncGenerator<ComparisonRecord> {
  const select = async (after: string) => {
    const rows = await db
      .select()
      .from(comparisons)
      .where(and(matchComparisons(filter), gt(comparisons.id, after)))
      .orderBy(asc(comparisons.id))
      .limit(COMPARISONS_AT_ONCE);
    return rows.length === 0 ? [] : toRecords(db, rows);
  };
  return readPages(select, COMPARISONS_AT_ONCE);
}

async function toRecords(db: Database, rows: (typeof comparisons.$inferSelect)[]): Promise<ComparisonRecord[]> {
  const ids = rows.map(({ id }) => id);
  const sideIds = rows.flatMap((row) => [row.a_generation_id, row.b_generation_id]);
  // One after the other: an export may take one connection, and lasts for minutes.
  const sides = await selectGenerations(db).where(inArray(generations.id, sideIds));
  const items = await db.select().from(queue_items).where(inArray(queue_items.comparison_id, ids));
  const votes = [...(await readVotes(db, ids)), ...(await readMeasurements(db, ids))];
  const sideById = new Map(sides.map((side) => [side.id, side]));
  const itemByComparison = new Map(items.map((item) => [item.comparison_id, item]));
  const votesByComparison = Map.groupBy(votes, ({ comparison }) => comparison);
  return rows.map((row) => {
    const [a, b] = [sideById.get(row.a_generation_id)!, sideById.get(row.b_generation_id)!];
    const item = itemByComparison.get(row.id);
    return {
      id: row.id,
      created: toSeconds(row.created_at),
      prompt: row.prompt,
      a: toSide(a),
      b: toSide(b),
      swapped: row.swapped,
      queue: row.queue_id,
      item: item ? { id: item.id, kind: item.kind, group: item.prompt_group, expected: item.expected } : null,
      votes: (votesByComparison.get(row.id) ?? []).map(({ vote }) => vote),
      metadata: row.metadata,
      redacted: a.redacted || b.redacted,
    };
  });
}

function toSide(side: StoredGeneration): SideRecord {
  return {
    generation: side.id,
    policy: side.policy_id,
    text: side.text,
    finish_reason: side.finish_reason,
    token_ids: side.token_ids,
    logps: side.logps,
    stop_token: side.stop_token,
    prompt_token_ids: side.prompt_token_ids,
    sampling: side.sampling,
    seed: side.seed,
  };
}

type ComparisonVote = { comparison: string; vote: VoteRecord };

async function readVotes(db: Database, comparisonIds: string[]): Promise<ComparisonVote[]> {
  const isVote = and(
    inArray(preferences.comparison_id, comparisonIds),
    eq(preferences.source, 'comparison'),
    isNull(preferences.erased_at),
  );
  const rows = await db
    .select({ vote: preferences, reservation: getTableColumns(reservations) })
    .from(preferences)
    .leftJoin(reservations, eq(reservations.id, preferences.reservation_id))
    .where(isVote)
    .orderBy(asc(preferences.id));
  const edits = await listEdits(
    db,
    rows.map(({ vote }) => vote.id),
  );
  return rows.map(({ vote, reservation }) => ({
    comparison: vote.comparison_id!,
    vote: {
      id: vote.id,
      created: toSeconds(vote.created_at),
      choice: vote.choice,
      strength: vote.strength,
      tags: vote.tags,
      comment: vote.comment,
      seconds: vote.seconds,
      rater: vote.rater,
      trust: getTrust(vote),
      edit: edits.get(vote.id)?.text ?? null,
      metadata: vote.metadata,
      redacted: vote.redacted,
      reservation: reservation && toReservation(reservation),
    },
  }));
}

/** Votes that measure their raters, and skipped reservations: neither is a preference. */
async function readMeasurements(db: Database, comparisonIds: string[]): Promise<ComparisonVote[]> {
  const isAnswered = or(isNotNull(reservations.choice), eq(reservations.state, 'skipped'));
  const isOfComparison = inArray(queue_items.comparison_id, comparisonIds);
  const rows = await db
    .select({ comparison: queue_items.comparison_id, reservation: getTableColumns(reservations) })
    .from(reservations)
    .innerJoin(queue_items, eq(queue_items.id, reservations.item_id))
    .leftJoin(preferences, eq(preferences.reservation_id, reservations.id))
    .where(and(isOfComparison, isAnswered, isNull(reservations.erased_at), isNull(preferences.id)))
    .orderBy(asc(reservations.id));
  return rows.map(({ comparison, reservation }) => ({
    comparison: comparison!,
    vote: {
      id: reservation.id,
      created: toSeconds(reservation.finished_at ?? reservation.created_at),
      choice: reservation.choice ?? 'skip',
      strength: reservation.strength,
      tags: [],
      comment: null,
      seconds: reservation.seconds,
      rater: reservation.rater,
      trust: getTrust({ source: 'comparison', rater: reservation.rater }),
      edit: null,
      metadata: null,
      redacted: false,
      reservation: toReservation(reservation),
    },
  }));
}

function toReservation(row: typeof reservations.$inferSelect): ReservationRecord {
  const { id, purpose, swapped, probability, guidelines_version } = row;
  return { id, purpose, swapped, probability, guidelines_version };
}

const toSeconds = (time: Date) => Math.floor(time.getTime() / 1000);
