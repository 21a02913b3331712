// Lists as OpenAI has them: newest first unless told, a page at a time, the next one after the last id seen.

import { z } from '@hono/zod-openapi';

export const listQuery = z.strictObject({
  after: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
});

export type ListQuery = z.output<typeof listQuery>;

export function listOf<S extends z.ZodType>(item: S) {
  return z.object({
    object: z.literal('list'),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });
}

/** A page out of rows that were asked for with limit + 1. */
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
