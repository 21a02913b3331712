// The items of queues: imported, drawn from real traffic, listed and exported with their votes, and offered again.

import { z } from '@hono/zod-openapi';
import { type ImportFormat, importItems } from '../../shared/queues/import-items.ts';
import { readBodyStream } from '../http/body-stream.ts';
import { defineOperation } from '../http/operation.ts';
import { getCallerId, getRowQuota } from '../middleware/auth.ts';
import { findQueue } from './queues.ts';

const itemsReport = z.object({
  object: z.literal('queue.import'),
  imported: z.number(),
  duplicates: z.number(),
  total: z.number(),
});

export const importQueueItems = defineOperation({
  scopes: ['operate'],
  summary:
    'Imports items into a queue: JSONL of {messages} or {prompt} with group, given, or a and b with expected; or, as ' +
    'text/plain, a prompt on each line',
  rawBody: 'application/jsonl',
  response: itemsReport,
  async handler({ ports, context, param }) {
    const leave = ports.concurrencyLimits?.imports.enter(getCallerId(context));
    try {
      const queue = await findQueue(ports.db, context, param('id'));
      const format: ImportFormat = /^text\/plain\b/i.test(context.req.header('content-type') ?? '') ? 'text' : 'jsonl';
      const report = await importItems(ports.db, queue, readBodyStream(context.req.raw.body), {
        format,
        owner: { tenant: queue.tenant, created_by: getCallerId(context) },
        redact: ports.redact,
        quota: getRowQuota(context),
        maxRowBytes: ports.settings.MAX_BODY_BYTES,
      });
      return { object: 'queue.import', ...report };
    } finally {
      leave?.();
    }
  },
});
