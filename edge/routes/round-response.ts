// A round as the API answers it.

import { z } from '@hono/zod-openapi';
import {
  earlierRoundSchema,
  gateReportSchema,
  type PairOrigins,
  pairOriginsSchema,
  ROUND_STAGES,
  ROUND_STATUSES,
} from '../../shared/database/round-types.ts';
import { getPublished } from '../../shared/rounds/published.ts';
import type { RoundRow } from '../../shared/rounds/schedule.ts';
import { toUnixSeconds } from '../http/resource.ts';

export const round = z
  .object({
    id: z.string(),
    object: z.literal('round'),
    status: z.enum(ROUND_STATUSES),
    stage: z.enum(ROUND_STAGES),
    trigger: z.string(),
    from_root: z.boolean(),
    method: z.discriminatedUnion('type', [
      z.object({ type: z.literal('dil'), dil: z.record(z.string(), z.unknown()) }),
      z.object({ type: z.literal('reward'), reward: z.record(z.string(), z.unknown()) }),
    ]),
    reference: z.string().nullable(),
    parent: z.string().nullable().openapi({ description: 'the policy that it trains' }),
    baseline: z
      .string()
      .nullable()
      .openapi({ description: 'the active policy, which it has to beat and replaces: the parent, unless from_root' }),
    policy: z.string().nullable().openapi({ description: 'the policy that it published; null if the gate refused' }),
    reward: z.string().nullable().openapi({ description: 'the reward that a round of the method reward published' }),
    pairs: z.record(z.string(), z.unknown()).nullable(),
    origins: pairOriginsSchema.nullable(),
    metrics: z.record(z.string(), z.number()).nullable(),
    gate: gateReportSchema.nullable(),
    earlier_rounds: z.array(earlierRoundSchema).nullable(),
    reason: z.string().nullable(),
    created_at: z.number(),
    started_at: z.number().nullable(),
    finished_at: z.number().nullable(),
  })
  .openapi('Round');

/** `readable`: the tenant whose raters and keys are named; null: those of all. */
export const toResponse = (row: RoundRow, readable: string | null): z.output<typeof round> => ({
  id: row.id,
  object: 'round',
  status: row.status,
  stage: row.stage,
  trigger: row.trigger,
  from_root: row.from_root,
  method: row.method === 'dil' ? { type: 'dil', dil: row.settings } : { type: 'reward', reward: row.settings },
  reference: row.reference_id,
  parent: row.parent_id,
  baseline: row.baseline_id,
  ...getPublished(row),
  pairs: row.pairs,
  origins: row.origins && withoutOthers(row.origins, readable),
  metrics: row.metrics,
  gate: row.gate,
  earlier_rounds: row.earlier_rounds,
  reason: row.reason,
  created_at: toUnixSeconds(row.created_at),
  started_at: row.started_at && toUnixSeconds(row.started_at),
  finished_at: row.finished_at && toUnixSeconds(row.finished_at),
});

function withoutOthers(origins: PairOrigins, readable: string | null): PairOrigins {
  const isReadable = ({ tenant }: { tenant: string }) => readable === null || tenant === readable;
  const { raters, capped_keys } = origins;
  return { ...origins, raters: raters.filter(isReadable), capped_keys: capped_keys.filter(isReadable) };
}
