// Decides about the canary that runs and the policy that is watched: by guards, by votes, and at last by Postgres's clock. Any
// number of processes may do so at any time: a transition is one conditional update, of this canary in the state that was read.

import { sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { type CanaryRow, type Change, findOpenCanaries } from '../store/canary-states.ts';
import { type Assessment, assessCanary, type CanarySettings, findDecision, type Step } from './assess.ts';
import {
  abandonCanary,
  BY_ITSELF,
  expireCanary,
  isInPlace,
  keepPolicy,
  promoteCanary,
  rollBackCanary,
} from './canaries.ts';
import { THRESHOLD } from './e-process.ts';

export type { CanarySettings };

type Decide = (transaction: Database) => Promise<CanaryRow | null>;

/** Returns the canaries whose state it has changed. */
export async function decideCanaries(db: Database, settings: CanarySettings): Promise<CanaryRow[]> {
  const { running, watching } = await findOpenCanaries(db);
  if (!running && !watching) return [];
  const changed: CanaryRow[] = [];
  const now = await readClock(db);
  // The active policy first: if it is rolled back, it is no baseline any more.
  for (const [row, judge] of [
    [watching, judgeWatched],
    [running, judgeRunning],
  ] as const) {
    if (!row) continue;
    const decide = (await isInPlace(db, row))
      ? judge(row, await assessCanary(db, settings, row), settings, now)
      : abandon(row);
    const after = decide && (await db.transaction(decide));
    if (after) changed.push(after);
  }
  return changed;
}

async function readClock(db: Database): Promise<Date> {
  const [row] = await db.execute<{ now: number }>(
    sql`select extract(epoch from clock_timestamp())::float8 * 1000 as now`,
  );
  return new Date(row!.now);
}

function abandon(row: CanaryRow): Decide {
  return (transaction) => abandonCanary(transaction, row, byItself('another policy became active'));
}

function judgeRunning(
  { id }: CanaryRow,
  { votes, steps, guards, closesAt }: Assessment,
  settings: CanarySettings,
  now: Date,
): Decide | null {
  const { CANARY_MAX_VOTES: maxVotes, CANARY_MAX_HOURS: maxHours, WATCH_HOURS: watchHours } = settings;
  const worse = guards.find(({ state }) => state === 'worse');
  if (worse) return (transaction) => rollBackCanary(transaction, id, 'running', byItself(worse.message));
  const decision = findDecision(steps.slice(0, maxVotes));
  if (decision) {
    const change = byItself(describeVotes(decision.step, decision.isBetter));
    return decision.isBetter
      ? (transaction) => promoteCanary(transaction, id, { ...change, watchHours })
      : (transaction) => rollBackCanary(transaction, id, 'running', change);
  }
  const count = votes.counted.length;
  const limit =
    count >= maxVotes ? `${maxVotes} votes` : now >= closesAt ? `${maxHours} hours and ${count} votes` : null;
  if (limit === null) return null;
  return (transaction) => expireCanary(transaction, id, byItself(`undecided after ${limit}; the active policy stays`));
}

/** E− alone: that it is better has been decided. */
function judgeWatched(
  { id }: CanaryRow,
  { steps, guards, closesAt }: Assessment,
  { WATCH_HOURS: hours }: CanarySettings,
  now: Date,
): Decide | null {
  const worse = guards.find(({ state }) => state === 'worse');
  const against = steps.find(({ worse }) => worse >= THRESHOLD);
  const reason = worse?.message ?? (against && describeVotes(against, false));
  if (reason) return (transaction) => rollBackCanary(transaction, id, 'watching', byItself(reason));
  if (now < closesAt) return null;
  const kept = byItself(`nothing spoke against it in the ${hours} hours of its watch`);
  return (transaction) => keepPolicy(transaction, id, kept);
}

function describeVotes({ wins, losses, better, worse }: Step, isBetter: boolean): string {
  const evidence = isBetter ? `E+ is ${toEvidence(better)}` : `E− is ${toEvidence(worse)}`;
  return `${wins} of ${wins + losses} blind votes are for it: ${evidence}, and 20 decides`;
}

function toEvidence(log10: number): string {
  return (10 ** log10).toPrecision(3);
}

function byItself(reason: string): Change {
  return { actor: BY_ITSELF, reason };
}
