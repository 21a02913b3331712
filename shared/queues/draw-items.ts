// Draws items of a queue from real traffic: prompts of completions that the tenant has stored, sampled uniformly.

import { and, asc, eq, gte, inArray, isNull, lt, type SQL, sql } from 'drizzle-orm';
import type { Owner } from '../access/owner.ts';
import { countRows, type RowQuota } from '../access/row-quota.ts';
import type { Prompt } from '../chat-message.ts';
import type { Database } from '../database/connect.ts';
import { completions, generations } from '../database/schema.ts';
import type { Redact } from '../redaction/redact.ts';
import { insertItems, redactItem } from './insert-items.ts';
import type { QueueRow } from './queues.ts';

export type DrawFilter = {
  /** Unix seconds */
  since?: number | undefined;
  until?: number | undefined;
  policy?: string | undefined;
  user?: string | undefined;
  metadata?: Record<string, string> | undefined;
};

/** `found`: completions that match; `duplicates`: of those sampled, whose prompt the queue has already, or has twice. */
export type DrawReport = { found: number; sampled: number; duplicates: number };

type DrawOptions = { filter: DrawFilter; count: number; seed: number; owner: Owner; redact: Redact | null };

export async function drawItems(
  db: Database,
  queue: QueueRow,
  { filter, count, seed, owner, redact, quota = null }: DrawOptions & { quota?: RowQuota | null },
): Promise<DrawReport> {
  const matches = match(queue.tenant, filter);
  const found = await db.$count(completions, matches);
  // By a hash of the id, so that the same seed draws the same ones.
  const sample = await db
    .select({ id: completions.id })
    .from(completions)
    .where(matches)
    .orderBy(sql`md5(${completions.id} || ${String(seed)})`)
    .limit(count);
  const ids = sample.map(({ id }) => id);
  if (ids.length === 0) return { found, sampled: 0, duplicates: 0 };
  const texts = await db
    .select({ id: completions.id, prompt: completions.prompt, response: generations.text })
    .from(completions)
    .innerJoin(generations, and(eq(generations.completion_id, completions.id), eq(generations.choice, 0)))
    .where(inArray(completions.id, ids));
  const items = await Promise.all(texts.map((row) => redactItem(redact, toItem(queue, row))));
  return db.transaction(async (transaction) => {
    // Until the items are committed they are not erased, so that no copy of their texts is left.
    const kept = await transaction
      .select({ id: completions.id, redacted: completions.redacted })
      .from(completions)
      .where(and(inArray(completions.id, ids), isNull(completions.erased_at)))
      .orderBy(asc(completions.id))
      .for('share');
    const byId = new Map(kept.map((row) => [row.id, row]));
    const rows = items.flatMap((item) => {
      const source = byId.get(item.drawnFrom!);
      return source ? { ...item, redacted: item.redacted || source.redacted } : [];
    });
    const inserted = await insertItems(transaction, queue, rows, owner);
    await countRows(transaction, quota, inserted);
    return { found, sampled: ids.length, duplicates: ids.length - inserted };
  });
}

function toItem({ settings }: QueueRow, { id, prompt, response }: { id: string; prompt: Prompt; response: string }) {
  return {
    kind: 'rated' as const,
    prompt,
    group: '',
    given: settings.pairing.type === 'given' ? response : null,
    sides: null,
    expected: null,
    explanation: null,
    drawnFrom: id,
  };
}

/** Completions with a prompt and a first response. */
function match(tenant: string, { since, until, policy, user, metadata }: DrawFilter): SQL | undefined {
  const toDate = (seconds: number | undefined) => (seconds === undefined ? undefined : new Date(seconds * 1000));
  const [from, to] = [toDate(since), toDate(until)];
  const response = sql`select from ${generations} where completion_id = ${completions.id} and choice = 0 and text <> ''`;
  return and(
    eq(completions.tenant, tenant),
    inArray(completions.kind, ['chat', 'text']),
    isNull(completions.erased_at),
    from && gte(completions.created_at, from),
    to && lt(completions.created_at, to),
    policy === undefined ? undefined : eq(completions.policy_id, policy),
    user === undefined ? undefined : eq(completions.user, user),
    metadata === undefined ? undefined : sql`${completions.metadata} @> ${JSON.stringify(metadata)}::jsonb`,
    sql`${completions.prompt} not in ('""', '[]')`,
    sql`exists (${response})`,
  );
}
