// Preferences in bulk: import and export, both streamed, and their counts.

import { z } from '@hono/zod-openapi';
import { AttuneError } from '../../shared/error.ts';
import { toPostgresAnswer } from '../../shared/postgres-errors.ts';
import * as store from '../../shared/preferences/store.ts';
import { readBodyStream } from '../http/body-stream.ts';
import { streamLines } from '../http/jsonl.ts';
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

export const exportPreferences = defineOperation({
  scopes: ['read'],
  summary: 'Every strict preference as JSONL, streamed',
  query: z.strictObject({ format: z.enum(['openai', 'trl']).default('openai'), tenant }),
  response: z.string(),
  responseType: 'application/jsonl',
  handler: async ({ ports, context, query }) =>
    streamLines(store.exportPreferences(ports.db, query.format, selectTenant(context, query.tenant))),
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
