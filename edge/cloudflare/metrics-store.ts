// The table of what all Workers have answered: batches are added up, each once, and told as Prometheus reads it.

import { inArray, lt, sql } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { answer_batches, answer_counts } from '../../shared/database/schema.ts';
import { getActivePolicyId } from '../../shared/store/registry.ts';
import { ACTIVE_POLICY_INFO, HTTP_DURATION } from '../metrics/definitions.ts';

/** Requests with the same labels whose response time falls into the same bucket. */
export type RequestCount = typeof answer_counts.$inferSelect;

export type RequestCountBatch = { id: string; answers: RequestCount[] };

/** Adds up what no earlier delivery of the same batch has. */
export async function addRequestCounts(db: Database, batches: RequestCountBatch[]): Promise<void> {
  await db.transaction(async (transaction) => {
    // In order, here and below: two consumers that add at once wait for each other and not both.
    const ids = [...new Set(batches.map(({ id }) => id))].sort().map((id) => ({ id }));
    const fresh = await transaction.insert(answer_batches).values(ids).onConflictDoNothing().returning();
    const left = new Set(fresh.map(({ id }) => id));
    const sums = new Map<string, RequestCount>();
    for (const { id, answers } of batches) {
      if (!left.delete(id)) continue;
      for (const answer of answers) {
        const key = [answer.method, answer.route, answer.status, answer.bucket].join(' ');
        const sum = sums.get(key) ?? { ...answer, count: 0, seconds: 0 };
        sums.set(key, { ...sum, count: sum.count + answer.count, seconds: sum.seconds + answer.seconds });
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

/** Removes the ids of batches that no queue delivers again. */
export async function deleteOldBatches(db: Database): Promise<void> {
  const old = db
    .select({ id: answer_batches.id })
    .from(answer_batches)
    .where(lt(answer_batches.created_at, sql`now() - interval '1 day'`))
    .for('update', { skipLocked: true });
  await db.delete(answer_batches).where(inArray(answer_batches.id, old));
}

/** What GET /metrics answers in a Worker. */
export async function formatMetrics(db: Database): Promise<{ body: string; type: string }> {
  const [rows, active] = await Promise.all([
    db
      .select()
      .from(answer_counts)
      .orderBy(answer_counts.route, answer_counts.method, answer_counts.status, answer_counts.bucket),
    getActivePolicyId(db),
  ]);
  const lines = [
    ...formatHeader(HTTP_DURATION, 'histogram'),
    ...[...Map.groupBy(rows, toLabels)].flatMap(([labels, counts]) => formatHistogram(labels, counts)),
    ...formatHeader(ACTIVE_POLICY_INFO, 'gauge'),
    ...(active ? [`${ACTIVE_POLICY_INFO.name}{policy="${active}"} 1`] : []),
  ];
  return { body: `${lines.join('\n')}\n`, type: 'text/plain; version=0.0.4; charset=utf-8' };
}

function formatHeader({ name, help }: { name: string; help: string }, type: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

/** A method, one of our own routes and a number: nothing in them needs escaping. */
function toLabels({ method, route, status }: RequestCount): string {
  return `method="${method}",route="${route}",status="${status}"`;
}

function formatHistogram(labels: string, counts: RequestCount[]): string[] {
  const { name, buckets } = HTTP_DURATION;
  const total = (rows: RequestCount[], of: 'count' | 'seconds') => rows.reduce((sum, row) => sum + row[of], 0);
  const upTo = (place: number) =>
    total(
      counts.filter(({ bucket }) => bucket <= place),
      'count',
    );
  return [
    ...[...buckets, '+Inf'].map((bound, place) => `${name}_bucket{le="${bound}",${labels}} ${upTo(place)}`),
    `${name}_sum{${labels}} ${total(counts, 'seconds')}`,
    `${name}_count{${labels}} ${total(counts, 'count')}`,
  ];
}
