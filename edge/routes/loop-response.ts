// What the loop is doing, as the API answers it.

import { z } from '@hono/zod-openapi';
import { toUnixSeconds } from '../http/resource.ts';
import { type LoopSnapshot, MAX_COUNTED } from '../loop/read-loop.ts';
import { canary, toCanary } from './canary-response.ts';
import { round, toResponse as toRound } from './round-response.ts';

const counted = (max: number) => z.int().openapi({ description: `up to ${max}` });

export const loopState = z
  .object({
    object: z.literal('loop'),
    at: z.number(),
    active: z.object({ policy: z.string(), name: z.string(), since: z.number() }).nullable(),
    canary: z.union([canary, z.null()]).openapi({ description: 'the one that is running' }),
    watch: z.union([canary, z.null()]).openapi({ description: 'the one whose policy is active and watched' }),
    traffic: z
      .object({
        requests_per_minute: z.number(),
        tokens_per_second: z.number(),
        errors_per_minute: z.number(),
        first_token_seconds: z.number().nullable(),
      })
      .openapi({ description: 'of the last minute, all processes' }),
    queue: z
      .object({ running: z.int(), waiting: z.int(), limit: z.int() })
      .nullable()
      .openapi({ description: 'generations of the process that answers; null in a Worker' }),
    round: z.union([round, z.null()]).openapi({ description: 'the one that is running, or else the next one queued' }),
    schedule: z.object({
      new_pairs: counted(MAX_COUNTED.pairs),
      min_pairs: z.int(),
      waits_for: z.string().nullable().openapi({ description: 'null: a round is due' }),
    }),
    votes: z
      .object({ last_hour: counted(MAX_COUNTED.votes), last_day: counted(MAX_COUNTED.votes), total: z.int() })
      .openapi({ description: 'on responses: without imports and given texts' }),
    completions: z.int().openapi({ description: `stored, up to ${MAX_COUNTED.completions}` }),
    trainer_seen_at: z.number().nullable().openapi({ description: 'to the minute' }),
  })
  .openapi('Loop');

export type LoopState = Omit<z.output<typeof loopState>, 'at'>;

/** `readable`: the tenant whose raters and keys are named; null: those of all. */
export const toLoopState = (snapshot: LoopSnapshot, readable: string | null): LoopState => {
  const { active, canary: running, watch, traffic, queue, schedule, votes, completions, trainerSeenAt } = snapshot;
  return {
    object: 'loop',
    active: active && { ...active, since: toUnixSeconds(active.since) },
    canary: running && toCanary(running.row, running.description, readable),
    watch: watch && toCanary(watch.row, watch.description, readable),
    traffic,
    queue,
    round: snapshot.round && toRound(snapshot.round, readable),
    schedule,
    votes,
    completions,
    trainer_seen_at: trainerSeenAt && toUnixSeconds(trainerSeenAt),
  };
};
