// How raters stand in a queue: their own progress, and whom an operator pauses or lets go on.

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { recordAudit } from '../../shared/access/audit.ts';
import { raters } from '../../shared/database/schema.ts';
import { findProgress } from '../../shared/queues/progress.ts';
import { pauseRater, resumeRater, type Standing } from '../../shared/queues/rater-standing.ts';
import { redactValue } from '../../shared/redaction/redact.ts';
import { notFound } from '../http/errors.ts';
import type { Transaction } from '../http/idempotency.ts';
import { defineOperation } from '../http/operation.ts';
import { findOr404 } from '../http/resource.ts';
import { getCallerId } from '../middleware/auth.ts';
import { namedRater, nameRater } from '../preferences/name-rater.ts';
import { assertVisible, findQueue } from './queues.ts';

const paused = z.object({ reason: z.string() }).nullable();

const progress = z
  .object({
    object: z.literal('queue_progress'),
    mine: z.object({ done: z.number(), skipped: z.number(), seconds_median: z.number().nullable(), gold: z.null() }),
    team: z.object({ done: z.number(), needed: z.number(), raters: z.number() }),
    seconds_left_mine: z.number().nullable(),
    paused,
    calibration: z.object({ done: z.number(), items: z.number(), accuracy: z.number().nullable() }).nullable(),
  })
  .openapi('QueueProgress');

export const getProgress = defineOperation({
  scopes: ['rate', 'feedback'],
  summary: 'How far you and all raters are in a queue',
  query: z.strictObject({ rater: namedRater }),
  response: progress,
  async handler({ ports, context, param, query }) {
    const queue = await findQueue(ports.db, context, param('id'));
    const rater = nameRater(context, query.rater);
    await assertVisible(ports.db, context, queue, rater);
    const { mine, ...rest } = await findProgress(ports.db, queue, rater);
    return { object: 'queue_progress', mine: { ...mine, gold: null }, ...rest };
  },
});

const queueRater = z
  .object({
    object: z.literal('queue_rater'),
    queue: z.string(),
    rater: z.string(),
    paused,
    calibrated: z.boolean(),
  })
  .openapi('QueueRater');

const MAX_RATER_LENGTH = 256;

export const pauseQueueRater = defineOperation({
  scopes: ['operate'],
  summary: 'Pauses a rater in a queue, and tells the rater why',
  idempotent: true,
  body: z.strictObject({
    reason: z.string().trim().min(1).max(1000).default('whoever runs this queue has paused you'),
  }),
  response: queueRater,
  async handler({ ports, context, commit, param, body }) {
    const reason = await redactValue(ports.redact, body.reason);
    const response = await commit(async (transaction) => {
      const { queue, rater } = await findRater(transaction, context, param);
      const standing = await pauseRater(transaction, queue, rater, reason);
      return audit(transaction, context, 'queue.rater_paused', standing);
    });
    await ports.sendWebhooks();
    return response;
  },
});

export const resumeQueueRater = defineOperation({
  scopes: ['operate'],
  summary: 'Lets a rater go on in a queue; the items from before do not pause the rater again',
  idempotent: true,
  response: queueRater,
  handler: ({ context, commit, param }) =>
    commit(async (transaction) => {
      const { queue, rater } = await findRater(transaction, context, param);
      return audit(transaction, context, 'queue.rater_resumed', await resumeRater(transaction, queue, rater));
    }),
});

/** A person who signs in has to exist; others are known by their votes only. */
async function findRater(transaction: Transaction, context: Context, param: (name: string) => string) {
  const queue = await findQueue(transaction, context, param('id'));
  const rater = param('rater');
  if (rater.startsWith('rater_')) await findOr404(transaction, raters, 'rater', rater, queue.tenant, 'rater');
  if (rater.length > MAX_RATER_LENGTH) throw notFound('rater', rater.slice(0, MAX_RATER_LENGTH), 'rater');
  return { queue: queue.id, rater };
}

/** An end user is not named: events outlive an erasure. */
async function audit(
  transaction: Transaction,
  context: Context,
  action: 'queue.rater_paused' | 'queue.rater_resumed',
  { queue_id, rater, paused_at, paused_reason, calibrated_at }: Standing,
): Promise<z.output<typeof queueRater>> {
  const details = rater.startsWith('rater_') ? { rater } : {};
  await recordAudit(transaction, { actor: getCallerId(context), action, target: queue_id, details });
  return {
    object: 'queue_rater',
    queue: queue_id,
    rater,
    paused: paused_at ? { reason: paused_reason ?? '' } : null,
    calibrated: calibrated_at !== null,
  };
}
