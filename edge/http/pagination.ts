// Lists as OpenAI has them: newest first unless told, a page at a time, the next one after the last id seen.

import { z } from '@hono/zod-openapi';
import { and, asc, desc, gt, lt, type SQL } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import type { comparisons, generations, policies, preferences, rounds } from '../../shared/database/schema.ts';

type Listed = typeof comparisons | typeof generations | typeof policies | typeof preferences | typeof rounds;

export const listQuery = z.strictObject({
  after: z
    .string()
    .regex(/^[\w-]+$/, 'give the last_id of a page')
    .optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
});

export type ListQuery = z.output<typeof listQuery>;

export function listSchema<S extends z.ZodType>(item: S) {
  return z.object({
    object: z.literal('list'),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });
}

/** The rows of a page, and one more where there are more. */
export async function selectPage<T extends Listed>(
  db: Database,
  table: T,
  { after, limit, order }: ListQuery,
  filter?: SQL,
): Promise<T['$inferSelect'][]> {
  const [beyond, sort] = order === 'asc' ? [gt, asc] : [lt, desc];
  return db
    .select()
    .from(table as Listed)
    .where(and(filter, after ? beyond(table.id, after) : undefined))
    .orderBy(sort(table.id))
    .limit(limit + 1);
}

/** A page out of the rows of selectPage. */
export function toPage<R extends { id: string }, T>(rows: R[], limit: number, show: (row: R) => T) {
  const shown = rows.slice(0, limit);
  return {
    object: 'list' as const,
    data: shown.map(show),
    first_id: shown[0]?.id ?? null,
    last_id: shown.at(-1)?.id ?? null,
    has_more: rows.length > limit,
  };
}
