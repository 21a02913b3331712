// Lists in OpenAI's shape: one page at a time, the next page after the last id of this one. Newest first by default, by
// id, for people; keys, whose ids are random, in the order of the transactions that inserted them. Oldest first is for
// synchronizing, and loses no row: it goes by the transactions that inserted the rows, up to the oldest one that is still
// open, because an id is made before its row is committed (schema.ts, insertedBy).

import { z } from '@hono/zod-openapi';
import { and, asc, desc, eq, isNull, lt, type SQL, sql } from 'drizzle-orm';
import { tenantName } from '../../shared/access/names.ts';
import type { Database } from '../../shared/database/connect.ts';
import {
  api_keys,
  type audit_events,
  type canaries,
  type comparisons,
  type completions,
  type erasures,
  type feedback,
  type policies,
  type preferences,
  type queue_items,
  type queues,
  type raters,
  type rounds,
} from '../../shared/database/schema.ts';
import { notFound } from './errors.ts';

export type ResourceTable =
  | typeof api_keys
  | typeof audit_events
  | typeof canaries
  | typeof comparisons
  | typeof completions
  | typeof erasures
  | typeof feedback
  | typeof policies
  | typeof preferences
  | typeof queue_items
  | typeof queues
  | typeof raters
  | typeof rounds;

/** What a tenant of a deployment has for itself. Policies and rounds are those of all, and keys are for administrators. */
type OwnedTable = Extract<ResourceTable, { erased_at: unknown }>;

export function isOwned(table: ResourceTable): table is OwnedTable {
  return 'erased_at' in table;
}

/** Rows of this tenant (null: of any) that were not erased; all rows of a table that has no tenants. */
export function isVisible(table: ResourceTable, tenant: string | null): SQL | undefined {
  if (!isOwned(table)) return undefined;
  return and(tenant === null ? undefined : eq(table.tenant, tenant), isNull(table.erased_at));
}

export const listQuery = z.strictObject({
  after: z
    .string()
    .regex(/^[\w-]+$/, 'give the last_id of a page')
    .optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
});

/** Of a table whose rows have tenants. */
export const ownedListQuery = listQuery.extend({
  tenant: tenantName.optional().openapi({ description: 'for administrators: the tenant to list; default: your own' }),
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

/**
 * The rows of one page, and whether there are more after it. `kind` is what the 404 for an unknown `after` calls them;
 * `tenant`: of a table whose rows have tenants, whose rows.
 */
export async function selectPage<T extends ResourceTable>(
  db: Database,
  table: T,
  query: ListQuery,
  kind: string,
  options: { tenant?: string | null; filter?: SQL | undefined } = {},
): Promise<{ rows: T['$inferSelect'][]; hasMore: boolean }> {
  return selectRest(db, table, query.limit, await findPlace(db, table, query, kind, options.tenant), options);
}

/** What is after the cursor in the order of the list. */
export type Place = { condition: SQL | undefined; sort: SQL[] };

/** `kind`, `tenant`: as above. */
export async function findPlace(
  db: Database,
  table: ResourceTable,
  { after, order }: Pick<ListQuery, 'after' | 'order'>,
  kind: string,
  tenant: string | null = null,
): Promise<Place> {
  const cursor = after === undefined ? undefined : await findCursor(db, table, after, kind, tenant);
  return order === 'desc' ? newestFirst(table, cursor) : oldestFirst(table, cursor);
}

/** The first rows after the cursor. */
export async function selectRest<T extends ResourceTable>(
  db: Database,
  table: T,
  limit: number,
  { condition, sort }: Place,
  { tenant = null, filter }: { tenant?: string | null; filter?: SQL | undefined } = {},
): Promise<{ rows: T['$inferSelect'][]; hasMore: boolean }> {
  const rows: T['$inferSelect'][] = await db
    .select()
    .from(table as ResourceTable)
    .where(and(isVisible(table, tenant), filter, condition))
    .orderBy(...sort)
    .limit(limit + 1);
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}

type Cursor = { id: string; xid: string };

function newestFirst(table: ResourceTable, cursor: Cursor | undefined) {
  if (table !== api_keys) return { condition: cursor && lt(table.id, cursor.id), sort: [desc(table.id)] };
  const condition = cursor && sql`(${table.xid}, ${table.id}) < (${cursor.xid}, ${cursor.id})`;
  return { condition, sort: [desc(table.xid), desc(table.id)] };
}

function oldestFirst(table: ResourceTable, cursor: Cursor | undefined) {
  const condition = and(
    sql`${table.xid} < pg_snapshot_xmin(pg_current_snapshot())`,
    cursor && sql`(${table.xid}, ${table.id}) > (${cursor.xid}, ${cursor.id})`,
  );
  return { condition, sort: [asc(table.xid), asc(table.id)] };
}

/** An erased row still has its place. */
async function findCursor(db: Database, table: ResourceTable, id: string, kind: string, tenant: string | null) {
  const isOwn = isOwned(table) && tenant !== null ? eq(table.tenant, tenant) : undefined;
  const [cursor] = await db
    .select({ id: table.id, xid: table.xid })
    .from(table)
    .where(and(eq(table.id, id), isOwn));
  if (!cursor) throw notFound(kind, id, 'after');
  return cursor;
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
