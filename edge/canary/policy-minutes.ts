// What each policy served, added up by minute out of the records of requests, until it is stored: traffic for the console, and
// what the guards of a canary compare. A request that was forwarded has no generations here and is counted where it was computed.

import { sql } from 'drizzle-orm';
import { addPolicyMinutes, type PolicyMinute } from '../../shared/canary/policy-minutes.ts';
import type { Database } from '../../shared/database/connect.ts';
import { log } from '../../shared/log.ts';
import { isUnreachable } from '../../shared/postgres-errors.ts';
import { StatementError } from '../../shared/statement-error.ts';
import { ACTIVE_ALIAS } from '../engine/inference.ts';
import type { GenerationRecord, RequestRecord } from '../http/request-record.ts';
import { withinTimeout } from '../within-timeout.ts';
import { isPolicyAtFault } from './policy-fault.ts';

type Sums = Required<Omit<PolicyMinute, 'policy_id' | 'minute'>>;

const MINUTE_MS = 60_000;
/** Half a day of two policies: what is kept while Postgres cannot be reached. */
const MAX_ROWS = 1440;
/** The clock of a Worker may stand still while it computes, and 0 has no logarithm. */
const MIN_SECONDS = 0.001;

/** Sums that have not been stored yet. */
export class PolicyMinutes {
  /** Oldest first. */
  private readonly rows = new Map<string, Required<PolicyMinute>>();

  add(policyId: string, changes: Partial<Sums>, minuteMs = toMinute(Date.now())): void {
    const key = `${policyId} ${minuteMs}`;
    let row = this.rows.get(key);
    if (!row) {
      row = { policy_id: policyId, minute: new Date(minuteMs), ...NOTHING };
      this.rows.set(key, row);
      if (this.rows.size > MAX_ROWS) this.rows.delete(this.rows.keys().next().value!);
    }
    for (const name of Object.keys(changes) as (keyof Sums)[]) row[name] += changes[name]!;
  }

  /** Called when a response has ended. */
  observe({ failure, attempts, generations }: RequestRecord): void {
    // What was refused was no completion; what a client left was one.
    const isRefused = failure !== null && failure.status < 500 && failure.status !== CLIENT_LEFT;
    if (isRefused && generations.length === 0) return;
    const hasFailed = failure !== null && failure.status >= 500 && isPolicyAtFault(failure.thrown);
    const isOneAtFault = attempts.some((attempt) => attempt.hasFailed);
    for (const attempt of attempts) {
      const isError = hasFailed && (attempt.hasFailed || !isOneAtFault);
      this.add(attempt.policyId, { requests: 1, errors: isError ? 1 : 0 });
    }
    for (const generation of generations) this.add(generation.policyId, toSums(generation));
  }

  get isEmpty(): boolean {
    return this.rows.size === 0;
  }

  /** Returns everything and forgets it. */
  drain(): Required<PolicyMinute>[] {
    const rows = [...this.rows.values()];
    this.rows.clear();
    return rows;
  }

  /** Takes back what could not be stored. */
  restore(rows: PolicyMinute[]): void {
    const newer = this.drain();
    for (const { policy_id, minute, ...sums } of [...rows, ...newer]) this.add(policy_id, sums, minute.getTime());
  }
}

const CLIENT_LEFT = 499;

const NO_RESPONSES = {
  responses: 0,
  length_stops: 0,
  empty: 0,
  length_log: 0,
  length_log_squares: 0,
  repetition: 0,
  repetition_squares: 0,
};

const NOTHING: Sums = {
  requests: 0,
  errors: 0,
  load_failures: 0,
  prompt_tokens: 0,
  completion_tokens: 0,
  seconds: 0,
  first_tokens: 0,
  first_token_log: 0,
  first_token_log_squares: 0,
  ...NO_RESPONSES,
};

export const SUMS = Object.keys(NOTHING) as (keyof Sums)[];

/**
 * Traffic is counted whoever asked. What policies are judged by is counted only where the server selected the policy: who names
 * one, as somebody who tries it out does, may ask it anything. Nor in comparisons: both policies have equally many of them, and not of
 * the rest, so that a mean over both would be of different mixtures.
 */
function toSums(generation: GenerationRecord): Partial<Sums> {
  const { model, isCompared, promptTokens, completionTokens, startedAt, firstTokenAt, endedAt } = generation;
  const isWhole = !generation.finishReasons.includes('cancelled');
  const sums: Partial<Sums> = {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    seconds: isWhole ? (endedAt - startedAt) / 1000 : 0,
  };
  if (model !== ACTIVE_ALIAS || isCompared) return sums;
  if (firstTokenAt !== null) {
    const first = Math.log(Math.max(MIN_SECONDS, (firstTokenAt - startedAt) / 1000));
    Object.assign(sums, { first_tokens: 1, first_token_log: first, first_token_log_squares: first ** 2 });
  }
  return { ...sums, ...sumResponses(generation) };
}

/** Of the choices that ended by themselves or by their length. */
function sumResponses({ responses, finishReasons }: GenerationRecord): Partial<Sums> {
  const sums = { ...NO_RESPONSES };
  for (const [at, { tokens, repetition, isEmpty }] of responses.entries()) {
    const reason = finishReasons[at];
    if (reason !== 'stop' && reason !== 'length') continue;
    const length = Math.log1p(tokens);
    sums.responses += 1;
    sums.length_stops += reason === 'length' ? 1 : 0;
    sums.empty += isEmpty ? 1 : 0;
    sums.length_log += length;
    sums.length_log_squares += length ** 2;
    sums.repetition += repetition;
    sums.repetition_squares += repetition ** 2;
  }
  return sums;
}

function toMinute(atMs: number): number {
  return Math.floor(atMs / MINUTE_MS) * MINUTE_MS;
}

const FLUSH_INTERVAL_MS = 2000;
/** At the end, Postgres may be away too. */
const LAST_FLUSH_TIMEOUT_MS = 3000;

/** Stores the sums every two seconds until closed, and then what is left. What cannot be stored is added later. */
export function flushPolicyMinutes(db: Database, minutes: PolicyMinutes): { close(): Promise<void> } {
  let flushing: Promise<void> | null = null;
  const flush = async () => {
    if (minutes.isEmpty) return;
    const rows = minutes.drain();
    try {
      const shiftMs = await readClockShift(db);
      await addPolicyMinutes(
        db,
        rows.map((row) => ({ ...row, minute: new Date(row.minute.getTime() + shiftMs) })),
      );
    } catch (error) {
      // What may be stored is not added again: two failures to load a candidate would become four.
      if (!(error instanceof StatementError && error.effect === 'unknown')) minutes.restore(rows);
      if (!isUnreachable(error))
        log.error('canary', 'storing what the policies served failed; it is added later', error);
    }
  };
  const timer = setInterval(() => {
    flushing ??= flush().finally(() => {
      flushing = null;
    });
  }, FLUSH_INTERVAL_MS);
  return {
    async close() {
      clearInterval(timer);
      await withinTimeout((flushing ?? Promise.resolve()).then(flush), LAST_FLUSH_TIMEOUT_MS, undefined);
    },
  };
}

/** By how many minutes Postgres's clock is ahead, which says when a canary runs: processes may be on machines whose clocks are off. */
async function readClockShift(db: Database): Promise<number> {
  const [row] = await db.execute<{ now: string }>(sql`select extract(epoch from clock_timestamp()) * 1000 as now`);
  return Math.round((Number(row!.now) - Date.now()) / MINUTE_MS) * MINUTE_MS;
}
