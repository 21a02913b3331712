// A round as the API answers it.

import { z } from '@hono/zod-openapi';
import { desc, inArray } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import {
  earlierRoundSchema,
  gateReportSchema,
  type PairOrigins,
  pairOriginsSchema,
  previewLineSchema,
  ROUND_STAGES,
  ROUND_STATUSES,
  roundProgressSchema,
} from '../../shared/database/round-types.ts';
import { CANARY_STATES, canaries } from '../../shared/database/schema.ts';
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
    reason: z.string().nullable().openapi({ description: 'why it failed, or what the gate said' }),
    canary: z
      .object({ id: z.string(), state: z.enum(CANARY_STATES), reason: z.string().nullable() })
      .nullable()
      .openapi({
        description: 'the last canary of its policy, and why that is in its state; null: it was never tried',
      }),
    dry_run: z.boolean().openapi({ description: 'it trains nothing, and ends with `preview`' }),
    preview: z.array(previewLineSchema).nullable().openapi({
      description: 'of a dry run: what a round would do; `origins`, which names raters, is for administrators',
    }),
    progress: roundProgressSchema
      .nullable()
      .openapi({ description: 'of a running round: seconds_left of the whole round, as measured on its trainer' }),
    created_at: z.number(),
    started_at: z.number().nullable(),
    finished_at: z.number().nullable(),
  })
  .openapi('Round');

type Trial = NonNullable<z.output<typeof round>['canary']>;

/** The line of a dry run that names raters and keys, whosesoever they are. */
const NAMES_RATERS = 'origins';

/** `readable`: the tenant whose raters and keys are named; null: those of all. */
export async function toResponses(
  db: Pick<Database, 'selectDistinctOn'>,
  rows: RoundRow[],
  readable: string | null,
): Promise<z.output<typeof round>[]> {
  const trials = await readTrials(db, rows);
  return rows.map((row) => toResponse(row, readable, trials.get(row.policy_id ?? '')));
}

/** The last canary of each round's policy. */
async function readTrials(db: Pick<Database, 'selectDistinctOn'>, rows: RoundRow[]): Promise<Map<string, Trial>> {
  const policies = rows.flatMap(({ policy_id }) => policy_id ?? []);
  if (policies.length === 0) return new Map();
  const { policy_id: policy, id, state, reason } = canaries;
  const last = await db
    .selectDistinctOn([policy], { policy, id, state, reason })
    .from(canaries)
    .where(inArray(policy, policies))
    .orderBy(policy, desc(id));
  return new Map(last.map(({ policy, ...trial }) => [policy, trial]));
}

/** `trial`: the last canary of its policy; default: there is none. */
export const toResponse = (row: RoundRow, readable: string | null, trial?: Trial): z.output<typeof round> => ({
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
  canary: trial ?? null,
  dry_run: row.dry_run,
  preview: readable === null ? row.preview : (row.preview?.filter(({ name }) => name !== NAMES_RATERS) ?? null),
  progress: row.status === 'running' ? row.progress : null,
  created_at: toUnixSeconds(row.created_at),
  started_at: row.started_at && toUnixSeconds(row.started_at),
  finished_at: row.finished_at && toUnixSeconds(row.finished_at),
});

function withoutOthers(origins: PairOrigins, readable: string | null): PairOrigins {
  const isReadable = ({ tenant }: { tenant: string }) => readable === null || tenant === readable;
  const { raters, capped_keys } = origins;
  return { ...origins, raters: raters.filter(isReadable), capped_keys: capped_keys.filter(isReadable) };
}
