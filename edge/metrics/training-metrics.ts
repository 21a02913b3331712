// The metrics of rounds, trainers, webhooks and Postgres connections, read from Postgres when GET /metrics is scraped, so that
// Node and Workers report the same. While Postgres does not answer, only attune_postgres_up remains of them.

import { sql } from 'drizzle-orm';
import { CHANGES } from '../../shared/database/channels.ts';
import type { Database } from '../../shared/database/connect.ts';
import {
  heartbeats,
  new_pairs,
  round_events,
  round_metrics,
  rounds,
  webhook_events,
} from '../../shared/database/schema.ts';
import { withinTimeout } from '../within-timeout.ts';

/** Well below Prometheus's default of ten seconds for a scrape. */
export const SCRAPE_TIMEOUT_MS = 2000;

type Row = { metric: string; label: string | null; value: number };

/** By name: help, and the label if it has one. All are gauges. */
const DEFINITIONS: Record<string, { help: string; label?: string }> = {
  attune_postgres_up: { help: '1 if Postgres answered this scrape.' },
  attune_rounds: { help: 'Rounds by status.', label: 'status' },
  attune_running_round_info: { help: '1 for the stage of the running round.', label: 'stage' },
  attune_running_round_step: { help: 'Training steps of the running round so far.' },
  attune_running_round_seconds: { help: 'Since the running round began.' },
  attune_running_round_stage_seconds: { help: 'Since the running round entered its stage.' },
  attune_last_round_info: {
    help: '1 for how the last round ended: active, published, refused, failed or cancelled.',
    label: 'result',
  },
  attune_last_round_age_seconds: { help: 'Since the last round ended.' },
  attune_new_pairs: { help: 'Pairs that the active policy has not learned.' },
  attune_trainers: { help: 'Trainers that wait for rounds or run one.' },
  attune_trainer_seen_seconds: { help: 'Since a trainer was last there, to the minute.' },
  attune_webhooks_pending: { help: 'Webhook events that are not delivered yet.' },
  attune_webhooks_oldest_seconds: { help: 'Age of the oldest webhook event that is not delivered yet.' },
  attune_webhooks_given_up: { help: 'Webhook events of the last three days that were given up.' },
  attune_postgres_connections: { help: 'Connections of Attune to Postgres by application_name.', label: 'application' },
};

/**
 * Renders them in Prometheus's text format. Never fails, and never waits for long. All scrapes of a process share one
 * query: /metrics needs no key, and must not take the connections of requests that have one.
 */
export function openTrainingMetrics(db: Database): () => Promise<string> {
  let reading: Promise<Row[]> | null = null;
  return async () => {
    reading ??= readRows(db).finally(() => {
      reading = null;
    });
    const rows = await withinTimeout(reading, SCRAPE_TIMEOUT_MS, null);
    const up = { metric: 'attune_postgres_up', label: null, value: rows ? 1 : 0 };
    return formatMetrics([up, ...(rows ?? [])]);
  };
}

const SECONDS_SINCE = (time: ReturnType<typeof sql>) => sql`extract(epoch from now() - ${time})::float8`;

async function readRows(db: Database): Promise<Row[]> {
  const isPending = sql`delivered_at is null and given_up_at is null`;
  const rows = await db.execute<Row>(sql`
    with running as (select * from ${rounds} where status = 'running'),
      last as (select * from ${rounds} where finished_at is not null and not dry_run order by finished_at desc limit 1)
    select 'attune_rounds' as metric, status as label, count(*)::float8 as value from ${rounds} group by status
    union all select 'attune_running_round_info', stage, 1 from running
    union all select 'attune_running_round_step', null,
      (select coalesce(max(step), 0) from ${round_metrics} where round_id = running.id and split = 'train') from running
    union all select 'attune_running_round_seconds', null, ${SECONDS_SINCE(sql`started_at`)} from running
    union all select 'attune_running_round_stage_seconds', null, ${SECONDS_SINCE(sql`
      (select max(created_at) from ${round_events} where round_id = running.id and type = 'stage')`)} from running
    union all select 'attune_last_round_info', stage, 1 from last
    union all select 'attune_last_round_age_seconds', null, ${SECONDS_SINCE(sql`finished_at`)} from last
    union all select 'attune_new_pairs', null, count(*) from ${new_pairs}
    union all select 'attune_trainers', null, count(*) from pg_stat_activity
      where datname = current_database() and application_name = 'attune trainer' and query = ${`listen "${CHANGES}"`}
    union all select 'attune_trainer_seen_seconds', null, ${SECONDS_SINCE(sql`seen_at`)} from ${heartbeats} where name = 'trainer'
    union all select 'attune_webhooks_pending', null, count(*) from ${webhook_events} where ${isPending}
    union all select 'attune_webhooks_oldest_seconds', null, ${SECONDS_SINCE(sql`min(created_at)`)}
      from ${webhook_events} where ${isPending}
    union all select 'attune_webhooks_given_up', null, count(*) from ${webhook_events} where given_up_at is not null
    union all select 'attune_postgres_connections', application_name, count(*) from pg_stat_activity
      where datname = current_database() and application_name like 'attune%' group by application_name`);
  return rows.filter(({ value }) => value !== null);
}

function formatMetrics(rows: Row[]): string {
  const lines = Object.entries(DEFINITIONS).flatMap(([name, { help, label }]) => {
    const values = rows
      .filter(({ metric }) => metric === name)
      .map((row) => `${name}${label ? `{${label}="${escapeLabel(row.label ?? '')}"}` : ''} ${Number(row.value)}`);
    return [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, ...values.sort()];
  });
  return `${lines.join('\n')}\n`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
