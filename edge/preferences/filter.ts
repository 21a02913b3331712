// What a list of preferences can be filtered by, and the conditions that it becomes.

import { z } from '@hono/zod-openapi';
import { and, desc, eq, inArray, lt, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import {
  PREFERENCE_SOURCES,
  type PreferenceFacet,
  preference_facets,
  preferences,
} from '../../shared/database/schema.ts';
import { ownedListQuery } from '../http/pagination.ts';

const FACETS = ['policy', 'queue', 'canary'] as const satisfies PreferenceFacet[];

const id = (what: string) =>
  z
    .string()
    .min(1)
    .max(200)
    .regex(/^[^\0]+$/)
    .optional()
    .openapi({ description: what });

export const preferenceListQuery = ownedListQuery.extend({
  search: z
    .string()
    .trim()
    .min(1)
    .max(500)
    .regex(/^[^\0]+$/)
    .optional()
    .openapi({
      description:
        'words of the prompt or a response, all of them; "in quotes" one after the other, -without, one or the other',
    }),
  choice: z.enum(['a', 'b', 'tie', 'both_bad', 'skip']).optional(),
  source: z.enum(PREFERENCE_SOURCES).optional(),
  rater: id('as preferences name it'),
  comparison: id('that was voted on'),
  policy: id('of either response'),
  queue: id('whose item was voted on'),
  canary: id('whose comparison was voted on'),
});

export type PreferenceQuery = z.output<typeof preferenceListQuery>;

/** One for each filter that is set; each has an index. */
export function listFilters(db: Database, query: PreferenceQuery, tenant: string): SQL[] {
  const { choice, source, rater, comparison } = query;
  const filters = [
    choice && eq(preferences.choice, choice),
    source && eq(preferences.source, source),
    rater === undefined ? undefined : eq(preferences.rater, rater),
    comparison === undefined ? undefined : eq(preferences.comparison_id, comparison),
    ...FACETS.map((facet) => {
      const isOf = matchFacet(facet, query, tenant);
      return isOf && inArray(preferences.id, db.select({ id: facetId }).from(preference_facets).where(isOf));
    }),
  ];
  return filters.filter((filter) => filter !== undefined);
}

const { preference_id: facetId } = preference_facets;

function matchFacet(facet: PreferenceFacet, query: PreferenceQuery, tenant: string): SQL | undefined {
  const value = query[facet];
  if (value === undefined) return undefined;
  const { tenant: owner, facet: name, value: named } = preference_facets;
  return and(eq(owner, tenant), eq(name, facet), eq(named, value));
}

/** If a facet is the query's only filter: the first so many ids, newest first. Otherwise undefined. */
export function selectNewestOfFacet(db: Database, query: PreferenceQuery, tenant: string, count: number) {
  const facet = FACETS.find((name) => query[name] !== undefined);
  if (!facet) return undefined;
  const isAfter = query.after === undefined ? undefined : lt(facetId, query.after);
  // `offset 0`: looked up for one after the other. The planner would read the whole list for the few that are erased.
  const isKept = sql`exists (
    select from ${preferences} where ${preferences.id} = ${facetId} and ${preferences.erased_at} is null offset 0)`;
  return db
    .select({ id: facetId })
    .from(preference_facets)
    .where(and(matchFacet(facet, query, tenant), isAfter, isKept))
    .orderBy(desc(facetId))
    .limit(count);
}
