// Lists in OpenAI's shape: newest first by default, one page at a time, the next page after the last id of this one.

import { z } from '@hono/zod-openapi';
import { and, asc, desc, gt, lt, type SQL } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import type { comparisons, completions, policies, preferences, rounds } from '../../shared/database/schema.ts';

export type ResourceTable =
  | typeof comparisons
  | typeof completions
  | typeof policies
  | typeof preferences
  | typeof rounds;

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

/** The rows of one page, and whether there are more after it. */
export async function selectPage<T extends ResourceTable>(
  db: Database,
  table: T,
  { after, limit, order }: ListQuery,
  filter?: SQL,
): Promise<{ rows: T['$inferSelect'][]; hasMore: boolean }> {
  const [isBeyond, sort] = order === 'asc' ? [gt, asc] : [lt, desc];
  const rows: T['$inferSelect'][] = await db
    .select()
    .from(table as ResourceTable)
    .where(and(filter, after ? isBeyond(table.id, after) : undefined))
    .orderBy(sort(table.id))
    .limit(limit + 1);
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}

export function toPage<T extends { id: string }>(data: T[], hasMore: boolean) {
  return {
    object: 'list' as const,
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  };
}
