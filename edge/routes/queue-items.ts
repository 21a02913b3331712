// The items of queues: imported, drawn from real traffic, listed and exported with their votes, and offered again.

import { z } from '@hono/zod-openapi';
import { and, eq } from 'drizzle-orm';
import { recordAudit } from '../../shared/access/audit.ts';
import { queue_items } from '../../shared/database/schema.ts';
import { drawItems } from '../../shared/queues/draw-items.ts';
import { exportItems } from '../../shared/queues/export-items.ts';
import { IMPORT_FORMATS, importItems } from '../../shared/queues/import-items.ts';
import { countVotes, isSplit, listVotes } from '../../shared/queues/item-votes.ts';
import { lockQueue } from '../../shared/queues/queues.ts';
import { requeue } from '../../shared/queues/requeue.ts';
import { drawSeed } from '../../shared/random.ts';
import { readBodyStream } from '../http/body-stream.ts';
import { notFound } from '../http/errors.ts';
import { streamLines } from '../http/jsonl.ts';
import { promptSchema, redactedField } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { listQuery, listSchema, selectPage, toPage } from '../http/pagination.ts';
import { toUnixSeconds } from '../http/resource.ts';
import { getCallerId, getRowQuota } from '../middleware/auth.ts';
import { CHOICES } from '../queues/describe-reservation.ts';
import { findQueue } from './queues.ts';

const MAX_DRAWN = 10_000;

const unixSeconds = z.int().min(0).max(4e9).optional();
const counts = z.object({
  a: z.number(),
  b: z.number(),
  tie: z.number(),
  both_bad: z.number(),
  skip: z.number(),
});

const kind = z.enum(['rated', 'gold', 'calibration']);
const state = z.enum(['pending', 'open', 'done', 'dropped']);

const queueItem = z
  .object({
    id: z.string(),
    object: z.literal('queue_item'),
    created: z.number(),
    kind,
    state,
    group: z.string(),
    prompt: promptSchema,
    comparison: z.string().nullable(),
    reviews: z.number().openapi({ description: 'votes that count: not those before a requeue' }),
    skips: z.number(),
    expected: z.enum(CHOICES).nullable(),
    votes: counts.openapi({ description: 'all votes, in terms of the sides of the comparison' }),
    reason: z.string().nullable().openapi({ description: 'why it was dropped' }),
    redacted: redactedField,
  })
  .openapi('QueueItem');

export const importQueueItems = defineOperation({
  scopes: ['operate'],
  summary:
    'Imports items into a queue: JSONL of {messages} or {prompt} with group, given, or a and b with expected; or, as ' +
    'text/plain or with format=text, a message of a user on each line',
  rawBody: 'application/jsonl',
  query: z.strictObject({
    format: z.enum(IMPORT_FORMATS).optional().openapi({
      description: 'text: a prompt on each line; default: by the content-type, which without a key is JSON',
    }),
  }),
  response: z.object({
    object: z.literal('queue.import'),
    imported: z.number(),
    duplicates: z.number(),
    total: z.number(),
  }),
  async handler({ ports, context, param, query }) {
    const leave = ports.concurrencyLimits?.imports.enter(getCallerId(context));
    try {
      const queue = await findQueue(ports.db, context, param('id'));
      const isText = /^text\/plain\b/i.test(context.req.header('content-type') ?? '');
      const report = await importItems(ports.db, queue, readBodyStream(context.req.raw.body), {
        format: query.format ?? (isText ? 'text' : 'jsonl'),
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

export const drawQueueItems = defineOperation({
  scopes: ['operate'],
  summary: 'Draws prompts of stored completions into a queue: sampled uniformly, each prompt once, and redacted',
  body: z.strictObject({
    count: z.int().min(1).max(MAX_DRAWN),
    since: unixSeconds.openapi({ description: 'Unix time in seconds' }),
    until: unixSeconds,
    policy: z.string().max(200).optional(),
    user: z.string().max(512).optional(),
    metadata: z.record(z.string(), z.string()).optional(),
    seed: z
      .int()
      .min(0)
      .optional()
      .openapi({ description: 'the same seed draws the same ones of the same completions' }),
  }),
  response: z.object({
    object: z.literal('queue.draw'),
    found: z.number().openapi({ description: 'completions that match' }),
    sampled: z.number(),
    duplicates: z.number(),
  }),
  async handler({ ports, context, param, body: { count, seed, ...filter } }) {
    const queue = await findQueue(ports.db, context, param('id'));
    const report = await drawItems(ports.db, queue, {
      filter,
      count,
      seed: seed ?? drawSeed(),
      owner: { tenant: queue.tenant, created_by: getCallerId(context) },
      redact: ports.redact,
      quota: getRowQuota(context),
    });
    return { object: 'queue.draw', ...report };
  },
});

export const listQueueItems = defineOperation({
  scopes: ['operate', 'read'],
  summary: 'Lists the items of a queue with their votes',
  query: listQuery.extend({
    state: state.optional(),
    kind: kind.optional(),
    split: z.literal('true').optional().openapi({ description: 'those that raters disagree on' }),
  }),
  response: listSchema(queueItem),
  async handler({ ports, context, param, query }) {
    const queue = await findQueue(ports.db, context, param('id'));
    const filter = and(
      eq(queue_items.queue_id, queue.id),
      query.state && eq(queue_items.state, query.state),
      query.kind && eq(queue_items.kind, query.kind),
      query.split && isSplit,
    );
    const { rows, hasMore } = await selectPage(ports.db, queue_items, query, 'item', { tenant: queue.tenant, filter });
    const votes = countVotes(await listVotes(ports.db, rows));
    return toPage(
      rows.map(
        (row): z.output<typeof queueItem> => ({
          id: row.id,
          object: 'queue_item',
          created: toUnixSeconds(row.created_at),
          kind: row.kind,
          state: row.state,
          group: row.prompt_group,
          prompt: row.prompt,
          comparison: row.comparison_id,
          reviews: row.reviews,
          skips: row.skips,
          expected: row.expected,
          votes: votes.get(row.id) ?? { a: 0, b: 0, tie: 0, both_bad: 0, skip: 0 },
          reason: row.reason,
          ...(row.redacted ? { redacted: true as const } : {}),
        }),
      ),
      hasMore,
    );
  },
});

export const exportQueueItems = defineOperation({
  scopes: ['read'],
  summary: 'Every item of a queue with its responses and votes as JSONL, streamed',
  response: z.string(),
  responseType: 'application/jsonl',
  handler: async ({ ports, context, param }) =>
    streamLines(exportItems(ports.db, (await findQueue(ports.db, context, param('id'))).id)),
});

export const requeueItems = defineOperation({
  scopes: ['operate'],
  summary: 'Offers items again: those named, skipped ones to those who skipped them, or those that a rater voted on',
  idempotent: true,
  body: z
    .strictObject({
      items: z
        .array(z.string().max(100))
        .min(1)
        .max(1000)
        .optional()
        .openapi({ description: 'for another set of reviews; the votes on them stay' }),
      skipped: z.boolean().optional(),
      rater: z
        .string()
        .max(256)
        .optional()
        .openapi({ description: 'whose votes no longer count to the reviews of their items' }),
    })
    .refine((body) => body.items || body.skipped || body.rater !== undefined, 'give items, skipped or rater'),
  response: z.object({ object: z.literal('queue.requeue'), items: z.number() }),
  handler: ({ context, commit, param, body }) =>
    commit(async (transaction) => {
      const { id } = await findQueue(transaction, context, param('id'));
      const queue = await lockQueue(transaction, id, 'update');
      if (!queue) throw notFound('queue', id);
      const items = await requeue(transaction, queue, body);
      await recordAudit(transaction, {
        actor: getCallerId(context),
        action: 'queue.requeued',
        target: id,
        details: { items },
      });
      return { object: 'queue.requeue' as const, items };
    }),
});
