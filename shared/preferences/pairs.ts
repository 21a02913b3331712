// Reads the pairs of a tenant, oldest first, a page in memory at a time.

import { and, asc, eq, gt, isNull, type SQL } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { PAGE_SIZE, readPages } from '../database/read-pages.ts';
import { preferences } from '../database/schema.ts';
import type { Pair } from './export.ts';

/** `filter`: of rows of preferences. Ties and skips are not pairs. */
export async function* readPairs(db: Database, tenant: string, filter?: SQL): AsyncGenerator<Pair> {
  const isOfTenant = and(eq(preferences.tenant, tenant), isNull(preferences.erased_at), filter);
  const rows = readPages((after) =>
    db
      .select()
      .from(preferences)
      .where(and(isOfTenant, gt(preferences.id, after)))
      .orderBy(asc(preferences.id))
      .limit(PAGE_SIZE),
  );
  for await (const row of rows) if (row.choice === 'a' || row.choice === 'b') yield toPair(row);
}

export function toPair(row: typeof preferences.$inferSelect): Pair {
  return {
    id: row.id,
    source: row.source,
    created_at: row.created_at,
    prompt: row.prompt,
    chosen: row.chosen,
    rejected: row.rejected,
    comparison: row.comparison_id,
    // As the file that it came from had it.
    rater: row.rater.replace(/^import:/, ''),
    strength: row.strength,
    votes: { chosen: 1, rejected: 0, tie: 0, both_bad: 0 },
    metadata: row.metadata,
  };
}
