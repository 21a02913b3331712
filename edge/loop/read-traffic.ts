// What the policies served, out of policy_minutes: by step of time, and as the rates of the last minute.

import { sql } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { policy_minutes } from '../../shared/database/schema.ts';

/** Of each policy: a day in steps of two minutes, a month in steps of an hour. */
const MAX_STEPS = 720;

export type TrafficStep = {
  /** the beginning of the step, in Unix seconds */
  at: number;
  policy: string;
  requests: number;
  errors: number;
  prompt_tokens: number;
  completion_tokens: number;
  first_token_seconds: number | null;
  seconds: number | null;
};

const FIRST_TOKEN = sql`exp(sum(first_token_log) / nullif(sum(first_tokens), 0))::float8`;
const COMPLETED = sql`nullif(sum(requests - errors), 0)`;

/** The steps of the last minutes, oldest first. Those in which a policy served nothing are left out. */
export async function readTraffic(
  db: Database,
  minutes: number,
): Promise<{ stepSeconds: number; steps: TrafficStep[] }> {
  const stepSeconds = 60 * Math.ceil(minutes / MAX_STEPS);
  const step = sql`make_interval(secs => ${stepSeconds})`;
  const at = sql`date_bin(${step}, minute, timestamptz 'epoch')`;
  const steps = await db.execute<TrafficStep>(sql`
    select extract(epoch from ${at})::float8 as at, policy_id as policy,
      sum(requests)::float8 as requests, sum(errors)::float8 as errors,
      sum(prompt_tokens)::float8 as prompt_tokens, sum(completion_tokens)::float8 as completion_tokens,
      ${FIRST_TOKEN} as first_token_seconds, (sum(seconds) / ${COMPLETED})::float8 as seconds
    from ${policy_minutes}
    where minute >= date_bin(${step}, now() - make_interval(mins => ${minutes - 1}), timestamptz 'epoch')
    group by 1, 2 order by 1, 2`);
  return { stepSeconds, steps: [...steps] };
}

export type Rates = {
  requests_per_minute: number;
  tokens_per_second: number;
  errors_per_minute: number;
  first_token_seconds: number | null;
};

/** Of the last sixty seconds: the minute that runs, and of the one before the part that is not longer ago. */
export async function readRates(db: Database): Promise<Rates> {
  const [row] = await db.execute<Rates>(sql`
    with part as (
      select *, least(1, greatest(0, 1 - extract(epoch from now() - minute - interval '1 minute') / 60)) as weight
      from ${policy_minutes} where minute > now() - interval '2 minutes')
    select coalesce(sum(weight * requests), 0)::float8 as requests_per_minute,
      coalesce(sum(weight * completion_tokens) / 60, 0)::float8 as tokens_per_second,
      coalesce(sum(weight * errors), 0)::float8 as errors_per_minute,
      exp(sum(weight * first_token_log) / nullif(sum(weight * first_tokens), 0))::float8 as first_token_seconds
    from part`);
  return row!;
}
