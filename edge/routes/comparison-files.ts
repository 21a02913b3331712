// What a data team hands on: comparisons with all their votes as a stream, and their datasheet.

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { assertQueueExists, type ComparisonFilter, readComparisons } from '../../shared/export/comparisons.ts';
import { createDatasheet } from '../../shared/export/create-datasheet.ts';
import { formatDatasheet } from '../../shared/export/datasheet-markdown.ts';
import { toJsonLines } from '../../shared/export/json-lines.ts';
import { toParquet } from '../../shared/export/parquet.ts';
import { streamBytes, streamLines } from '../http/jsonl.ts';
import { defineOperation } from '../http/operation.ts';
import { ownedListQuery } from '../http/pagination.ts';
import { timeRange } from '../http/time-field.ts';
import { selectTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';

const filterQuery = z.strictObject({
  queue: z.string().min(1).optional().openapi({ description: 'the id of a queue; default: of all and of none' }),
  ...timeRange,
  tenant: ownedListQuery.shape.tenant,
});

async function toFilter(
  { db }: Ports,
  context: Context,
  { tenant, queue, since, until }: z.output<typeof filterQuery>,
): Promise<ComparisonFilter> {
  const filter = { tenant: selectTenant(context, tenant), queue, since, until };
  await assertQueueExists(db, filter);
  return filter;
}

export const exportComparisons = defineOperation({
  scopes: ['read'],
  summary: 'Every comparison with both sides, their tokens and log-probabilities, and all votes; streamed',
  query: filterQuery.extend({ format: z.enum(['jsonl', 'parquet']).default('jsonl') }),
  response: z.string(),
  responseType: 'application/jsonl',
  otherTypes: ['application/vnd.apache.parquet'],
  async handler({ ports, context, query: { format, ...query } }) {
    const records = readComparisons(ports.db, await toFilter(ports, context, query));
    if (format === 'jsonl') return streamLines(toJsonLines(records));
    return streamBytes(toParquet(records), {
      'content-type': 'application/vnd.apache.parquet',
      'content-disposition': 'attachment; filename="comparisons.parquet"',
    });
  },
});

export const getDatasheet = defineOperation({
  scopes: ['read'],
  summary:
    'A datasheet of the comparisons and votes that an export has: counts, agreement, raters, dates and known limits',
  query: filterQuery.extend({
    format: z.enum(['json', 'markdown']).default('json'),
    licence: z.string().trim().min(1).max(200).optional().openapi({ description: 'under which they are handed on' }),
  }),
  response: z.record(z.string(), z.unknown()),
  otherTypes: ['text/markdown'],
  async handler({ ports, context, query: { format, licence, ...query } }) {
    const sheet = await createDatasheet(ports.db, await toFilter(ports, context, query), licence);
    if (format === 'json') return sheet;
    return new Response(formatDatasheet(sheet), { headers: { 'content-type': 'text/markdown; charset=utf-8' } });
  },
});
