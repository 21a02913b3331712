// Preferences in bulk: import and export, both streamed, and their counts.

import { z } from '@hono/zod-openapi';
import { AttuneError } from '../../shared/error.ts';
import { toPostgresAnswer } from '../../shared/postgres-errors.ts';
import { EXPORT_FORMATS } from '../../shared/preferences/export.ts';
import { countMajorities, minReviews } from '../../shared/preferences/majority.ts';
import * as store from '../../shared/preferences/store.ts';
import { readBodyStream } from '../http/body-stream.ts';
import { AGGREGATION_HEADER, streamLines } from '../http/jsonl.ts';
import { defineOperation } from '../http/operation.ts';
import { ownedListQuery } from '../http/pagination.ts';
import { getCallerId, getOwner, getRowQuota, selectTenant } from '../middleware/auth.ts';

const { tenant } = ownedListQuery.shape;

export const importPreferences = defineOperation({
  scopes: ['feedback'],
  summary: 'Imports preferences as JSONL or JSON in the shapes of OpenAI, TRL, OpenPipe, ShareGPT and Arena',
  rawBody: 'application/jsonl',
  response: z.object({
    object: z.literal('preference.import'),
    rows: z.number(),
    imported: z.number(),
    duplicates: z.number(),
    refused: z.number(),
    errors: z.array(z.object({ row: z.number(), message: z.string() })),
  }),
  async handler({ ports, context }) {
    const leave = ports.concurrencyLimits?.imports.enter(getCallerId(context));
    try {
      const source = readBodyStream(context.req.raw.body);
      const options = {
        maxRowBytes: ports.settings.MAX_BODY_BYTES,
        owner: getOwner(context),
        redact: ports.redact,
        quota: getRowQuota(context),
      };
      return { object: 'preference.import', ...(await store.importPreferences(ports.db, source, options)) };
    } catch (error) {
      throw describeInterruption(error);
    } finally {
      leave?.();
    }
  },
});

const exportQuery = z
  .strictObject({
    format: z.enum(EXPORT_FORMATS).default('openai'),
    aggregate: z.enum(['majority']).optional().openapi({ description: 'one pair of each comparison, by its votes' }),
    min_reviews: minReviews.optional().openapi({
      description: 'with aggregate: how many votes a comparison needs; default: 1',
    }),
    exclude_paused: z.stringbool().optional().openapi({
      type: 'boolean',
      description: 'with aggregate: leaves out raters who are paused in the queue of the comparison',
    }),
    tenant,
  })
  .superRefine(({ aggregate, ...query }, context) => {
    for (const name of ['min_reviews', 'exclude_paused'] as const)
      if (query[name] !== undefined && aggregate === undefined)
        context.addIssue({ code: 'custom', path: [name], message: 'needs aggregate=majority; add it' });
  });

export const exportPreferences = defineOperation({
  scopes: ['read'],
  summary: 'Every strict preference as JSONL, streamed; or one pair of each comparison, by the majority of its votes',
  query: exportQuery,
  response: z.string(),
  responseType: 'application/jsonl',
  async handler({ ports, context, query: { format, aggregate, min_reviews, exclude_paused, ...query } }) {
    const tenant = selectTenant(context, query.tenant);
    if (aggregate === undefined) return streamLines(store.exportPreferences(ports.db, format, tenant));
    const aggregation = { minReviews: min_reviews ?? 1, excludePaused: exclude_paused ?? false };
    const counts = await countMajorities(ports.db, tenant, aggregation);
    return streamLines(store.exportPreferences(ports.db, format, tenant, aggregation), {
      // A line of the body would be a row of the dataset.
      [AGGREGATION_HEADER]: JSON.stringify(counts),
    });
  },
});

export const countPreferences = defineOperation({
  scopes: ['read'],
  summary: 'Counts preferences',
  query: z.strictObject({ tenant }),
  response: z.record(z.string(), z.unknown()),
  handler: async ({ ports, context, query }) => store.countPreferences(ports.db, selectTenant(context, query.tenant)),
});

/** Rows are committed in batches, so that a failed statement says nothing about the earlier ones. */
function describeInterruption(error: unknown): unknown {
  const cause = toPostgresAnswer(error);
  return cause
    ? new AttuneError(
        'the import was interrupted, because Postgres failed; some rows may be stored: send the file again, and they are skipped as duplicates',
        { status: cause.status, code: 'import_interrupted', retry: cause.retry },
      )
    : error;
}
