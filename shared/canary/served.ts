// What the two policies of a canary served, as guards compare them. While it runs: both over the minutes in which the candidate
// served something. Once it is promoted: the candidate since then, and the baseline in the hours before, in which it was active.

import { and, eq, gt, gte, inArray, isNotNull, isNull, lte, type SQL, sql } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import type { Database } from '../database/connect.ts';
import { canaries, completions, feedback, generations, policy_minutes } from '../database/schema.ts';
import type { CanaryRow } from '../store/canary-states.ts';
import type { Served } from './compared.ts';
import { limitByRater } from './first-by-rater.ts';
import { isCreatedIn, type Span, toTime } from './id-range.ts';

type Counted = Omit<Served, 'thumbs' | 'thumbs_up'>;

const COUNTED = [
  'requests',
  'errors',
  'load_failures',
  'first_tokens',
  'first_token_log',
  'first_token_log_squares',
  'responses',
  'length_stops',
  'empty',
  'length_log',
  'length_log_squares',
  'repetition',
  'repetition_squares',
] as const satisfies (keyof Counted)[];

type BySide<Value> = { candidate: Value; baseline: Value };
type Spans = BySide<Span>;

export async function readServed(
  db: Database,
  canary: CanaryRow,
  settings: { CANARY_RATER_VOTES: number; WATCH_HOURS: number },
): Promise<BySide<Served>> {
  const spans = toSpans(canary, settings.WATCH_HOURS);
  const minutes = await readMinutes(db, canary, spans);
  const thumbs = await readThumbs(db, canary, spans, settings.CANARY_RATER_VOTES);
  return {
    candidate: { ...minutes.candidate, ...thumbs.candidate },
    baseline: { ...minutes.baseline, ...thumbs.baseline },
  };
}

function toSpans({ created_at, promoted_at, ended_at: until }: CanaryRow, watchHours: number): Spans {
  if (!promoted_at) return { candidate: { since: created_at, until }, baseline: { since: created_at, until } };
  const before = sql`${toTime(promoted_at)} - make_interval(secs => ${3600 * watchHours})`;
  return { candidate: { since: promoted_at, until }, baseline: { since: before, until: promoted_at } };
}

async function readMinutes(db: Database, canary: CanaryRow, spans: Spans): Promise<BySide<Counted>> {
  const { policy_id: policy, minute } = policy_minutes;
  const sums = Object.fromEntries(
    COUNTED.map((name) => [name, sql<number>`coalesce(sum(${policy_minutes[name]}), 0)`.mapWith(Number)]),
  ) as { [Name in keyof Counted]: SQL<number> };
  const read = async (id: string, { since, until }: Span, filter?: SQL) => {
    const isWithin = and(
      gte(minute, firstMinute(canary, toTime(since))),
      until ? lte(minute, toTime(until)) : undefined,
    );
    const [row] = await db
      .select(sums)
      .from(policy_minutes)
      .where(and(eq(policy, id), isWithin, filter));
    return row as Counted;
  };
  const served = alias(policy_minutes, 'served');
  const servedByCandidate = db
    .select({ minute: served.minute })
    .from(served)
    .where(and(eq(served.policy_id, canary.policy_id), gt(served.requests, 0)));
  const isTogether = canary.promoted_at ? undefined : inArray(minute, servedByCandidate);
  return {
    candidate: await read(canary.policy_id, spans.candidate),
    baseline: await read(canary.baseline_id, spans.baseline, isTogether),
  };
}

/** The minute that has begun then, or the next one if another canary of the policy has ended in it: what it served is in there. */
function firstMinute({ id, policy_id }: CanaryRow, since: SQL): SQL {
  const minute = sql`date_trunc('minute', ${since})`;
  const { id: other, policy_id: policy, ended_at: ended } = canaries;
  return sql`${minute} + case when exists (select 1 from ${canaries}
    where ${policy} = ${policy_id} and ${other} <> ${id} and ${ended} between ${minute} and ${since})
    then interval '1 minute' else interval '0' end`;
}

async function readThumbs(db: Database, canary: CanaryRow, spans: Spans, perRater: number) {
  const { policy_id: candidate, baseline_id: baseline, promoted_at } = canary;
  // While it runs both are of one time, and found in one pass over the feedback of all policies.
  const rows = promoted_at
    ? [...(await listThumbs(db, [candidate], spans.candidate)), ...(await listThumbs(db, [baseline], spans.baseline))]
    : await listThumbs(db, [candidate, baseline], spans.candidate, eq(completions.canary_id, canary.id));
  const count = (id: string) => {
    const counted = rows.filter(({ policy }) => policy === id).filter(limitByRater(perRater));
    return { thumbs: counted.length, thumbs_up: counted.filter(({ thumb }) => thumb === 1).length };
  };
  return { candidate: count(candidate), baseline: count(baseline) };
}

function listThumbs(db: Database, policies: string[], span: Span, filter?: SQL) {
  const { tenant, rater, thumb } = feedback;
  return db
    .select({ policy: completions.policy_id, tenant, rater, thumb })
    .from(feedback)
    .innerJoin(generations, eq(generations.id, feedback.generation_id))
    .innerJoin(completions, eq(completions.id, generations.completion_id))
    .where(
      and(
        inArray(completions.policy_id, policies),
        filter,
        isCreatedIn(feedback, 'fb_', span),
        isNotNull(feedback.thumb),
        isNull(feedback.erased_at),
      ),
    )
    .orderBy(feedback.id);
}
