// A page of the list of preferences, quick whatever it is filtered by. No index is in the order of the list for all filters
// together, so what is near is read first: the next rows of the list, or of the one filter that has an index in its order. If a page is not among them, all that match are found
// by their indexes and sorted, which takes a second or two of a million rows.

import { and, eq, gte, inArray, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { preferences } from '../../shared/database/schema.ts';
import type { PreferenceRow } from '../../shared/preferences/vote-details.ts';
import { findPlace, isVisible, type Place, selectPage, selectRest } from '../http/pagination.ts';
import { listFilters, type PreferenceQuery, selectNewestOfFacet } from './filter.ts';
import { readWords, tooManyToCompare, type Words } from './search.ts';

const KIND = 'preference';
const LIMITS = {
  /** Rows of the list that are looked at one by one, a few milliseconds for a hundred if they are searched. */
  near: 1000,
  /** Rows whose texts are compared with a search one by one, a second in all. */
  compared: 10_000,
};
/** So that the index's rows need not be compared again: a bitmap that is too large for its memory names pages. */
const WORK_MEM = '128MB';

type Page = { rows: PreferenceRow[]; hasMore: boolean };

export async function selectPreferences(
  db: Database,
  query: PreferenceQuery,
  tenant: string,
  limits = LIMITS,
): Promise<Page> {
  const filters = listFilters(db, query, tenant);
  const words = query.search === undefined ? undefined : await readWords(db, query.search);
  const { limit, order } = query;
  const isInOrder = order === 'desc' && filters.length === 1;
  if (words === undefined && (isInOrder || filters.length === 0)) {
    const ids = selectNewestOfFacet(db, query, tenant, limit + 1);
    const filter = ids ? inArray(preferences.id, ids) : filters[0];
    return selectPage(db, preferences, query, KIND, { tenant, filter });
  }
  const place = await findPlace(db, preferences, query, KIND, tenant);
  if (words === null) return { rows: [], hasMore: false };
  const near = await (isInOrder
    ? findNewest(db, query, tenant, place, filters[0]!, limits.near)
    : findNext(db, query, tenant, place, limits.near));
  const filter = and(...(isInOrder ? [] : filters), words?.matches, near.isNear);
  const page = await selectRest(db, preferences, limit, place, { tenant, filter });
  if (page.hasMore || near.isAll) return page;
  const wanted = { tenant, filters, words, place, limit: limit + 1, maxCompared: limits.compared };
  return selectRest(db, preferences, limit, place, { tenant, filter: isOneOf(await findAll(db, wanted)) });
}

type Near = { isNear: SQL | undefined; isAll: boolean };

/** The next rows of the list. */
async function findNext(
  db: Database,
  { order }: PreferenceQuery,
  tenant: string,
  { condition, sort }: Place,
  count: number,
): Promise<Near> {
  const [end] = await db
    .select({ id: preferences.id, xid: preferences.xid })
    .from(preferences)
    .where(and(eq(preferences.tenant, tenant), condition))
    .orderBy(...sort)
    .offset(count - 1)
    .limit(1);
  if (!end) return { isNear: undefined, isAll: true };
  if (order === 'desc') return { isNear: gte(preferences.id, end.id), isAll: false };
  return { isNear: sql`(${preferences.xid}, ${preferences.id}) <= (${end.xid}, ${end.id})`, isAll: false };
}

/** The newest rows that a filter finds in the order of the list. */
async function findNewest(
  db: Database,
  query: PreferenceQuery,
  tenant: string,
  { condition, sort }: Place,
  filter: SQL,
  count: number,
): Promise<Near> {
  const isWanted = and(isVisible(preferences, tenant), filter, condition);
  const newest = db
    .select({ id: preferences.id })
    .from(preferences)
    .where(isWanted)
    .orderBy(...sort)
    .limit(count);
  const ids = (await (selectNewestOfFacet(db, query, tenant, count) ?? newest)).map(({ id }) => id);
  return { isNear: isOneOf(ids), isAll: ids.length < count };
}

type Wanted = {
  tenant: string;
  filters: SQL[];
  words: Words | undefined;
  place: Place;
  limit: number;
  maxCompared: number;
};

/** The ids of the first ones that match, found among all. */
async function findAll(db: Database, wanted: Wanted): Promise<string[]> {
  const { tenant, filters, words, place, limit, maxCompared } = wanted;
  const sorted = sql`order by ${sql.join(place.sort, sql`, `)} limit ${limit}`;
  const isWanted = and(...filters, isVisible(preferences, tenant));
  if (!words) return readIds(db, isWanted, place.condition, sorted);
  const compare = (ids: string[]) => readIds(db, and(isOneOf(ids), words.matches), place.condition, sorted);
  const atMost = sql`limit ${maxCompared + 1}`;
  if (filters.length > 0) {
    const few = await db
      .select({ id: preferences.id })
      .from(preferences)
      .where(and(isWanted, place.condition))
      .limit(maxCompared + 1);
    if (few.length <= maxCompared) return compare(few.map(({ id }) => id));
  }
  const rest = and(isWanted, place.condition);
  const found = await db.transaction(async (transaction) => {
    await transaction.execute(sql`select set_config('work_mem', ${WORK_MEM}, true)`);
    // The planner takes comparing for cheap, and would read the whole table for a common word.
    await transaction.execute(sql`select set_config('enable_seqscan', 'off', true)`);
    return readIds(transaction, words.indexed, rest, words.isPhrase ? atMost : sorted);
  });
  if (!words.isPhrase) return found;
  if (found.length > maxCompared) throw tooManyToCompare(maxCompared);
  return compare(found);
}

/**
 * The ids of those that are `found`, and of these of `rest`. Materialized, because with a limit the planner walks through the
 * list in its order, and hopes.
 */
async function readIds(db: Database, found: SQL | undefined, rest: SQL | undefined, end: SQL): Promise<string[]> {
  const { id, xid, tenant, erased_at, choice, source, rater, comparison_id } = preferences;
  const columns = sql.join([id, xid, tenant, erased_at, choice, source, rater, comparison_id], sql`, `);
  const rows = await db.execute<{ id: string }>(sql`
    with ${preferences} as materialized (select ${columns} from ${preferences} where ${found})
    select ${id} from ${preferences} where ${rest ?? sql`true`} ${end}`);
  return rows.map((row) => row.id);
}

/** As one parameter, however many there are. */
const isOneOf = (ids: string[]): SQL =>
  sql`${preferences.id} in (select jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb))`;
