// HTTP metrics of all Workers in Postgres: adds each batch of counts once, and renders the sums for Prometheus.

import { inArray, lt, sql } from 'drizzle-orm';
import { addPolicyMinutes, type PolicyMinute } from '../../shared/canary/policy-minutes.ts';
import type { Database } from '../../shared/database/connect.ts';
import { answer_batches, answer_counts } from '../../shared/database/schema.ts';
import { getActivePolicyId } from '../../shared/store/registry.ts';
import { PolicyMinutes } from '../canary/policy-minutes.ts';
import { ACTIVE_POLICY_INFO, HTTP_DURATION } from '../metrics/definitions.ts';
import { openTrainingMetrics, SCRAPE_TIMEOUT_MS } from '../metrics/training-metrics.ts';
import { withinTimeout } from '../within-timeout.ts';

/** Requests with the same labels whose response time falls into the same bucket. */
export type RequestCount = typeof answer_counts.$inferSelect;

export type RequestCountBatch = { id: string; counts: RequestCount[] };

/** Adds the counts of each batch that no earlier delivery has added. */
export async function addRequestCounts(db: Database, batches: RequestCountBatch[]): Promise<void> {
  await db.transaction(async (transaction) => {
    const remaining = await claimBatches(transaction, batches);
    const sums = new Map<string, RequestCount>();
    for (const { id, counts } of batches) {
      if (!remaining.delete(id)) continue;
      for (const row of counts) {
        const key = [row.method, row.route, row.status, row.bucket].join(' ');
        const sum = sums.get(key) ?? { ...row, count: 0, seconds: 0 };
        sums.set(key, { ...sum, count: sum.count + row.count, seconds: sum.seconds + row.seconds });
      }
    }
    if (sums.size === 0) return;
    const rows = [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
    const { method, route, status, bucket, count, seconds } = answer_counts;
    await transaction
      .insert(answer_counts)
      .values(rows)
      .onConflictDoUpdate({
        target: [method, route, status, bucket],
        set: { count: sql`${count} + excluded.count`, seconds: sql`${seconds} + excluded.seconds` },
      });
  });
}

/** What the policies served, of each batch that no earlier delivery has added. */
export async function addMinuteBatches(db: Database, batches: { id: string; rows: PolicyMinute[] }[]): Promise<void> {
  await db.transaction(async (transaction) => {
    const remaining = await claimBatches(transaction, batches);
    const sums = new PolicyMinutes();
    for (const { id, rows } of batches) if (remaining.delete(id)) sums.restore(rows);
    await addPolicyMinutes(transaction, sums.drain());
  });
}

/** The ids of those that were not delivered before. */
async function claimBatches(transaction: Database, batches: { id: string }[]): Promise<Set<string>> {
  // Sorted, here and where rows are added, so that concurrent consumers lock them in the same order and do not deadlock.
  const ids = [...new Set(batches.map(({ id }) => id))].sort().map((id) => ({ id }));
  const fresh = await transaction.insert(answer_batches).values(ids).onConflictDoNothing().returning();
  return new Set(fresh.map(({ id }) => id));
}

/** Deletes ids of batches that are too old for the queue to deliver again. */
export async function deleteOldBatches(db: Database): Promise<void> {
  const old = db
    .select({ id: answer_batches.id })
    .from(answer_batches)
    .where(lt(answer_batches.created_at, sql`now() - interval '1 day'`))
    .for('update', { skipLocked: true });
  await db.delete(answer_batches).where(inArray(answer_batches.id, old));
}

/** The response of GET /metrics in a Worker: without Postgres, only that it is down. */
export async function renderMetrics(db: Database): Promise<{ body: string; type: string }> {
  const [training, responses] = await Promise.all([
    openTrainingMetrics(db)(),
    withinTimeout(readResponses(db), SCRAPE_TIMEOUT_MS, null),
  ]);
  const lines = [
    ...formatHeader(HTTP_DURATION, 'histogram'),
    ...[...Map.groupBy(responses?.rows ?? [], toLabels)].flatMap(([labels, counts]) => formatHistogram(labels, counts)),
    ...formatHeader(ACTIVE_POLICY_INFO, 'gauge'),
    ...(responses?.active ? [`${ACTIVE_POLICY_INFO.name}{policy="${responses.active}"} 1`] : []),
  ];
  return { body: `${lines.join('\n')}\n${training}`, type: 'text/plain; version=0.0.4; charset=utf-8' };
}

async function readResponses(db: Database): Promise<{ rows: RequestCount[]; active: string | null }> {
  const { route, method, status, bucket } = answer_counts;
  const rows = await db.select().from(answer_counts).orderBy(route, method, status, bucket);
  return { rows, active: await getActivePolicyId(db) };
}

function formatHeader({ name, help }: { name: string; help: string }, type: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

/** A known method, one of our own routes and a number: no value needs escaping. */
function toLabels({ method, route, status }: RequestCount): string {
  return `method="${method}",route="${route}",status="${status}"`;
}

function formatHistogram(labels: string, rows: RequestCount[]): string[] {
  const { name, buckets } = HTTP_DURATION;
  const sum = (some: RequestCount[], field: 'count' | 'seconds') => some.reduce((total, row) => total + row[field], 0);
  const cumulative = (index: number) =>
    sum(
      rows.filter(({ bucket }) => bucket <= index),
      'count',
    );
  return [
    ...[...buckets, '+Inf'].map((bound, index) => `${name}_bucket{le="${bound}",${labels}} ${cumulative(index)}`),
    `${name}_sum{${labels}} ${sum(rows, 'seconds')}`,
    `${name}_count{${labels}} ${sum(rows, 'count')}`,
  ];
}
