// Which items a rater may be given next, and with which probability each is chosen.

import { sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { queue_items, reservations } from '../database/schema.ts';
import type { QueueRow } from './queues.ts';

export type Candidate = { id: string; probability: number };

/** Also those behind the first, for when it is locked by somebody else. */
const MAX_CANDIDATES = 20;

/** A rater votes on an item again only after so many others. */
const REPEAT_DISTANCE = 5;

/**
 * Rated items in the order in which they are to be tried: one group of prompts is drawn, and of its items those with the
 * fewest reviews, where a reservation counts as one. What the rater let lapse, or skipped before a requeue, comes last.
 */
export async function selectCandidates(
  db: Pick<Database, 'execute'>,
  { id, settings }: QueueRow,
  rater: string,
): Promise<Candidate[]> {
  const isImported = settings.order === 'imported';
  // The items are read twice, which is faster than keeping all of a large queue. Nothing is joined with them: without statistics,
  // as right after an import, Postgres would look through all reservations of the rater for each item.
  const rows = await db.execute<{ id: string; groups: string | number; items: string | number }>(sql`
    with mine as (
      select item_id, bool_or(state in ('open', 'voted', 'skipped')) as is_blocked from ${reservations}
      where queue_id = ${id} and rater = ${rater} group by item_id
    ), taken as (
      select jsonb_object_agg(item_id, places) as places from (
        select item_id, count(*) as places from ${reservations}
        where queue_id = ${id} and state = 'open' and purpose = 'vote' and expires_at > clock_timestamp() group by item_id
      ) as each_item
    ), loaded as not materialized (
      select id, prompt_group, reviews + coalesce(((select places from taken)->>id)::int, 0) as load,
        id in (select item_id from mine) as was_mine
      from ${queue_items}
      where queue_id = ${id} and kind = 'rated' and state in ('pending', 'open') and erased_at is null
        and id not in (select item_id from mine where is_blocked)
    ), eligible as not materialized (
      select * from loaded where load < ${settings.reviews}
    ), counted as (
      select was_mine, prompt_group, load, count(*) as items from eligible group by was_mine, prompt_group, load
    ), preferred as (
      select * from counted where was_mine = (select bool_and(was_mine) from counted)
    ), drawn as (
      select prompt_group, count(*) over () as groups
      from (select distinct prompt_group from preferred) as each_group order by random() limit 1
    ), least as (
      select was_mine, prompt_group, load, items, groups from preferred join drawn using (prompt_group)
      order by load limit 1
    )
    select id, (select groups from least), (select items from least) from eligible
    where (was_mine, prompt_group, load) = (select was_mine, prompt_group, load from least)
    order by ${isImported ? sql`id` : sql`random()`} limit ${MAX_CANDIDATES}`);
  return rows.map((row) => ({
    id: row.id,
    probability: 1 / Number(row.groups) / (isImported ? 1 : Number(row.items)),
  }));
}

/** An item of this kind that the rater has not been given; null if there is none. */
export async function selectMeasuring(
  db: Pick<Database, 'execute'>,
  queueId: string,
  rater: string,
  kind: 'gold' | 'calibration',
): Promise<Candidate | null> {
  // A skipped one is not given again, or a skip would be a way past it.
  const isTaken = sql`select from ${reservations} as own
    where own.item_id = item.id and own.rater = ${rater} and own.state <> 'lapsed'`;
  const [row] = await db.execute<{ id: string; count: string | number }>(sql`
    select id, count(*) over () as count from ${queue_items} as item
    where queue_id = ${queueId} and kind = ${kind} and state = 'open' and erased_at is null and not exists (${isTaken})
    order by random() limit 1`);
  return row ? { id: row.id, probability: 1 / Number(row.count) } : null;
}

/** An item that the rater has voted on some votes ago, and how it was shown then; null if there is none. */
export async function selectRepeat(
  db: Pick<Database, 'execute'>,
  queueId: string,
  rater: string,
): Promise<(Candidate & { swapped: boolean }) | null> {
  const [row] = await db.execute<{ id: string; swapped: boolean; count: string | number }>(sql`
    select item.id, earlier.swapped, count(*) over () as count from (
      select item_id, swapped from ${reservations}
      where queue_id = ${queueId} and rater = ${rater} and purpose = 'vote' and state = 'voted' and erased_at is null
      order by finished_at desc offset ${REPEAT_DISTANCE}
    ) as earlier join ${queue_items} as item on item.id = earlier.item_id and item.erased_at is null
    where not exists (select from ${reservations} as own
      where own.item_id = item.id and own.rater = ${rater} and own.purpose = 'repeat' and own.state <> 'lapsed')
    order by random() limit 1`);
  return row ? { id: row.id, swapped: row.swapped, probability: 1 / Number(row.count) } : null;
}
