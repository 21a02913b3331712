// A canary as the API answers it.

import { z } from '@hono/zod-openapi';
import { COMMAND } from '../../shared/access/audit.ts';
import type { CanaryDescription } from '../../shared/canary/describe.ts';
import { GUARD_NAMES } from '../../shared/canary/guards.ts';
import { CANARY_STATES, type canaries } from '../../shared/database/schema.ts';
import { toUnixSeconds } from '../http/resource.ts';
import { ANONYMOUS } from '../middleware/auth.ts';

const interval = z.object({ low: z.number(), high: z.number() });

const evidence = z.object({
  better: z.number().openapi({ description: 'log10 of E₊, the evidence that the candidate is better' }),
  worse: z.number().openapi({ description: 'log10 of E₋, the evidence that it is worse' }),
  threshold: z.number().openapi({ description: 'log10 of the E at which it is decided' }),
  win_rate: z
    .object({ value: z.number(), interval })
    .nullable()
    .openapi({ description: 'of the votes for a side, with a 95% confidence sequence, valid at any time' }),
});

const votes = z.object({
  wins: z.int().openapi({ description: 'votes for the candidate that count' }),
  losses: z.int().openapi({ description: 'votes for the baseline that count' }),
  ties: z.int(),
  both_bad: z.int(),
  repeated: z.int().openapi({ description: 'votes on a comparison of which another vote counts' }),
  over_limit: z.int().openapi({ description: 'votes of raters who had given CANARY_RATER_VOTES before' }),
  raters: z.int(),
  max: z.int().openapi({ description: 'CANARY_MAX_VOTES' }),
});

const guard = z.object({
  name: z.enum(GUARD_NAMES),
  state: z.enum(['waiting', 'ok', 'worse']).openapi({ description: 'waiting: too few to say' }),
  candidate: z.number().nullable().openapi({ description: 'mean of the candidate, in `unit`' }),
  baseline: z.number().nullable(),
  unit: z.enum(['share', 'seconds', 'tokens', 'count']),
  difference: z
    .object({ value: z.number(), low: z.number(), high: z.number() })
    .nullable()
    .openapi({ description: 'candidate minus baseline, or the log of their ratio, with a confidence sequence' }),
  tolerance: z.number().openapi({ description: 'the candidate is worse if the whole interval is beyond it' }),
  count: z.int().openapi({ description: 'observations of the candidate' }),
  message: z.string(),
});

export const canary = z
  .object({
    id: z.string(),
    object: z.literal('canary'),
    created: z.number(),
    policy: z.string().openapi({ description: 'the candidate' }),
    baseline: z
      .string()
      .openapi({ description: 'the policy that it is compared with, which takes over after a rollback' }),
    round: z.string().nullable(),
    state: z.enum(CANARY_STATES),
    share: z.number().openapi({ description: 'of the completions, while running' }),
    reason: z.string().nullable(),
    created_by: z.string().openapi({ description: 'whoever started it; which key only for administrators' }),
    promoted_at: z.number().nullable(),
    ended_at: z.number().nullable(),
    closes_at: z.number().nullable().openapi({ description: 'when it expires, or its watch ends; null: it has ended' }),
    votes,
    evidence,
    guards: z.array(guard),
  })
  .openapi('Canary');

export type CanaryRow = typeof canaries.$inferSelect;

/** Actors that are no key. */
const NAMED: ReadonlySet<string> = new Set([ANONYMOUS, COMMAND, 'trainer', 'canary']);

/** `readable`: the tenant of the caller, who is told no id of a key; null: an administrator. */
export const toCanary = (
  row: CanaryRow,
  description: CanaryDescription,
  readable: string | null,
): z.output<typeof canary> => ({
  id: row.id,
  object: 'canary',
  created: toUnixSeconds(row.created_at),
  policy: row.policy_id,
  baseline: row.baseline_id,
  round: row.round_id,
  state: row.state,
  share: row.share,
  reason: row.reason,
  created_by: readable === null || NAMED.has(row.created_by) ? row.created_by : 'a key',
  promoted_at: row.promoted_at && toUnixSeconds(row.promoted_at),
  ended_at: row.ended_at && toUnixSeconds(row.ended_at),
  ...description,
});
