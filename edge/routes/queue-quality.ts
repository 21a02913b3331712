// How good the votes of a queue are.

import { z } from '@hono/zod-openapi';
import { queues } from '../../shared/database/schema.ts';
import { measureQuality, type RaterQuality } from '../../shared/queues/quality.ts';
import { defineOperation } from '../http/operation.ts';
import { findOr404, toUnixSeconds } from '../http/resource.ts';
import { getReadableTenant } from '../middleware/auth.ts';

const measure = z.object({
  value: z.number().nullable(),
  interval: z
    .object({ low: z.number(), high: z.number() })
    .nullable()
    .openapi({ description: '95%; null with fewer than six items' }),
  count: z.number(),
});

const counts = { a: z.number(), b: z.number(), tie: z.number(), both_bad: z.number() };

const gold = z.object({ accuracy: measure, kappa: measure });

const rater = z.object({
  rater: z.string(),
  votes: z.number(),
  skips: z.number(),
  agreement: measure.openapi({ description: 'share of votes that are what most other raters of the item chose' }),
  gold,
  calibration: z.object({ accuracy: measure }),
  consistency: measure.openapi({ description: 'share of repeated items with the same choice again' }),
  seconds: measure.openapi({ description: 'median' }),
  side_bias: measure.openapi({ description: 'share of the side shown as A among votes for a side' }),
  paused: z.object({ at: z.number(), reason: z.string().nullable() }).nullable(),
});

const quality = z
  .object({
    object: z.literal('queue_quality'),
    queue: z.string(),
    votes: z.object({ ...counts, total: z.number(), skips: z.number() }),
    items: z.object({ voted: z.number(), rated_by_several: z.number(), dropped: z.number() }),
    agreement: z
      .object({ choice: measure, strength: measure })
      .openapi({ description: 'Krippendorff’s α: nominal of the choice, ordinal of the strength' }),
    gold: gold.openapi({ description: 'accuracy, and Cohen’s κ' }),
    consistency: measure,
    raters: z.array(rater),
    split: z.object({
      count: z.number(),
      items: z.array(z.object({ item: z.string(), comparison: z.string().nullable(), votes: z.object(counts) })),
    }),
  })
  .openapi('QueueQuality');

export const getQueueQuality = defineOperation({
  scopes: ['read', 'operate'],
  summary: 'How far the raters of a queue agree: with each other, with known answers and with themselves',
  response: quality,
  async handler({ ports, context, param }) {
    const { id } = await findOr404(ports.db, queues, 'queue', param('id'), getReadableTenant(context));
    const { raters, ...measured } = await measureQuality(ports.db, id);
    return { object: 'queue_quality', queue: id, ...measured, raters: raters.map(toResponse) };
  },
});

const toResponse = ({ paused, ...rest }: RaterQuality): z.output<typeof rater> => ({
  ...rest,
  paused: paused && { at: toUnixSeconds(paused.at), reason: paused.reason },
});
