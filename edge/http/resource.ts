// The two operations that every stored resource has: GET of a list, and GET by id.

import type { z } from '@hono/zod-openapi';
import { and, eq, type SQL } from 'drizzle-orm';
import type { Context } from 'hono';
import type { Database } from '../../shared/database/connect.ts';
import type { Scope } from '../../shared/scopes.ts';
import { getReadableTenant, selectTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { notFound } from './errors.ts';
import { defineOperation } from './operation.ts';
import {
  isOwned,
  isVisible,
  listQuery,
  listSchema,
  ownedListQuery,
  type ResourceTable,
  selectPage,
  toPage,
} from './pagination.ts';

type Resource<T extends ResourceTable, S extends z.ZodType<{ id: string }>> = {
  summary: string;
  /** default: read */
  scopes?: readonly Scope[];
  /** what a 404 calls it */
  kind: string;
  table: T;
  item: S;
  /** `readable`: the tenant whose rows the caller may read; null: those of all. */
  toResponses(
    rows: T['$inferSelect'][],
    ports: Ports,
    readable: string | null,
    context: Context,
  ): Promise<z.output<S>[]> | z.output<S>[];
};

export function listOperation<T extends ResourceTable, S extends z.ZodType<{ id: string }>>({
  summary,
  scopes = ['read'],
  kind,
  table,
  filter,
  item,
  toResponses,
}: Resource<T, S> & { filter?: SQL | ((context: Context) => SQL | undefined) }) {
  return defineOperation({
    summary,
    scopes,
    query: isOwned(table) ? ownedListQuery : listQuery,
    response: listSchema(item),
    async handler({ ports, context, query }) {
      const tenant = 'tenant' in query ? query.tenant : undefined;
      const options = {
        tenant: selectTenant(context, tenant as string | undefined),
        filter: typeof filter === 'function' ? filter(context) : filter,
      };
      const { rows, hasMore } = await selectPage(ports.db, table, query, kind, options);
      return toPage(await toResponses(rows, ports, getReadableTenant(context), context), hasMore);
    },
  });
}

export function getOperation<T extends ResourceTable, S extends z.ZodType<{ id: string }>>({
  summary,
  scopes = ['read'],
  kind,
  table,
  item,
  toResponses,
}: Resource<T, S>) {
  return defineOperation({
    summary,
    scopes,
    response: item,
    async handler({ ports, context, param }) {
      const readable = getReadableTenant(context);
      const row = await findOr404(ports.db, table, kind, param('id'), readable);
      return (await toResponses([row], ports, readable, context))[0];
    },
  });
}

/** `tenant`: of a table whose rows have tenants, whose row it may be; null: anyone's. An erased row is not found either. */
export async function findOr404<T extends ResourceTable>(
  db: Pick<Database, 'select'>,
  table: T,
  kind: string,
  id: string,
  tenant: string | null,
  param = 'id',
): Promise<T['$inferSelect']> {
  const rows: T['$inferSelect'][] = await db
    .select()
    .from(table as ResourceTable)
    .where(and(eq(table.id, id), isVisible(table, tenant)));
  if (!rows[0]) throw notFound(kind, id, param);
  return rows[0];
}

export function toUnixSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
