// Which policies raters prefer, by all votes on comparisons of two policies.

import { z } from '@hono/zod-openapi';
import { queues } from '../../shared/database/schema.ts';
import { createLeaderboard } from '../../shared/leaderboard/leaderboard.ts';
import { defineOperation } from '../http/operation.ts';
import { ownedListQuery } from '../http/pagination.ts';
import { findOr404 } from '../http/resource.ts';
import { timeRange } from '../http/time-field.ts';
import { selectTenant } from '../middleware/auth.ts';

const flag = (description: string) => z.stringbool().default(false).openapi({ type: 'boolean', description });

const interval = z.object({ low: z.number(), high: z.number() }).nullable().openapi({ description: '95%' });

const rating = z.object({
  rating: z.number().nullable().openapi({ description: 'points above the first policy of its group; 400: ten to one' }),
  interval,
  rank: z.number(),
  rank_interval: z.object({ best: z.number(), worst: z.number() }).nullable(),
  group: z.number().openapi({ description: 'ratings of two groups cannot be compared' }),
});

const score = { wins: z.number(), losses: z.number(), ties: z.number(), both_bad: z.number(), win_rate: z.number() };

const leaderboard = z
  .object({
    object: z.literal('leaderboard'),
    ties: z.enum(['half', 'dropped']),
    votes: z.object({
      counted: z.number(),
      ties: z.number(),
      both_bad: z.number(),
      skips: z.number(),
      same_policy: z.number(),
      raters: z.number(),
      prompts: z.number(),
    }),
    clustered_by: z.array(z.enum(['rater', 'prompt'])),
    policies: z.array(
      z.object({
        policy: z.string().openapi({ description: 'given: responses that no policy generated' }),
        name: z.string().nullable(),
        votes: z.number(),
        ...score,
        ratings: z.object({ half: rating, dropped: rating }),
      }),
    ),
    pairs: z.array(z.object({ policy: z.string(), other: z.string(), ...score })),
    first_place: z
      .object({
        policy: z.string(),
        rival: z.string(),
        votes: z.number().openapi({ description: 'so many removed votes put the rival first' }),
        share: z.number(),
        removed: z.array(z.object({ better: z.string(), worse: z.string(), tie: z.boolean(), votes: z.number() })),
      })
      .nullable(),
    style: z.array(z.object({ feature: z.string(), points: z.number().nullable(), interval })).nullable(),
    notes: z.array(z.string()),
  })
  .openapi('Leaderboard');

export const getLeaderboard = defineOperation({
  scopes: ['read'],
  summary: 'Ratings of policies by the votes on their comparisons, with intervals, ranks, and win rates by pair',
  query: z.strictObject({
    ties: z.enum(['half', 'dropped']).default('half').openapi({
      description: 'what the order, the first place and the style are by: ties as half a win, or left out',
    }),
    style: flag('takes the length and the Markdown of responses out of the ratings'),
    ...timeRange,
    queue: z.string().min(1).optional().openapi({ description: 'the id of a queue; default: all votes' }),
    exclude_paused: flag('without the votes in queues of raters who are paused there'),
    tenant: ownedListQuery.shape.tenant,
  }),
  response: leaderboard,
  async handler({
    ports,
    context,
    query: { ties, style, tenant, queue, since, until, exclude_paused: excludePaused },
  }) {
    const owner = selectTenant(context, tenant);
    if (queue !== undefined) await findOr404(ports.db, queues, 'queue', queue, owner, 'queue');
    return createLeaderboard(ports.db, { tenant: owner, queue, since, until, excludePaused }, { ties, style });
  },
});
