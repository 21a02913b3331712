// How raters stand in a queue: their own progress, and whom an operator pauses or lets go on.

import { z } from '@hono/zod-openapi';
import { findProgress } from '../../shared/queues/progress.ts';
import { defineOperation } from '../http/operation.ts';
import { namedRater, nameRater } from '../preferences/name-rater.ts';
import { findQueue } from './queues.ts';

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
    const { mine, ...rest } = await findProgress(ports.db, queue, nameRater(context, query.rater));
    return { object: 'queue_progress', mine: { ...mine, gold: null }, ...rest };
  },
});
