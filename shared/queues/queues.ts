// Queues of prompts that raters compare responses to, with their guidelines, of which every version is kept.

import { and, eq, isNull, ne, sql } from 'drizzle-orm';
import type { z } from 'zod';
import { recordAudit } from '../access/audit.ts';
import type { Owner } from '../access/owner.ts';
import type { Database } from '../database/connect.ts';
import { queue_guidelines, queue_items, queues } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { newId } from '../id.ts';
import { isUniqueViolation } from '../postgres-errors.ts';
import { type QueueSettings, type queueSettingsChanges, queueSettingsSchema } from '../queue-settings.ts';

export type QueueRow = typeof queues.$inferSelect;

export type QueueChanges = {
  name?: string | undefined;
  status?: 'open' | 'closed' | undefined;
  /** Markdown, as a new version */
  guidelines?: string | undefined;
  settings?: z.output<typeof queueSettingsChanges> | undefined;
};

export async function createQueue(
  transaction: Database,
  { name, guidelines, settings }: { name: string; guidelines: string; settings: QueueSettings },
  owner: Owner,
): Promise<QueueRow> {
  const values = { id: newId('que_'), name, settings, guidelines_version: 1, ...owner };
  const [row] = await transaction
    .insert(queues)
    .values(values)
    .returning()
    .catch((error) => {
      throw isUniqueViolation(error) ? nameTaken(name) : error;
    });
  await storeGuidelines(transaction, row!, guidelines, owner.created_by);
  await recordAudit(transaction, { actor: owner.created_by, action: 'queue.created', target: row!.id });
  return row!;
}

/** Of a locked queue (lockQueue). */
export async function updateQueue(
  transaction: Database,
  queue: QueueRow,
  { name = queue.name, status = queue.status, guidelines, settings: changed = {} }: QueueChanges,
  actor: string,
): Promise<QueueRow> {
  const settings = queueSettingsSchema.parse({ ...queue.settings, ...changed });
  await assertPairingFits(transaction, queue, settings);
  const version = queue.guidelines_version + (guidelines === undefined ? 0 : 1);
  const [row] = await transaction
    .update(queues)
    .set({ name, status, settings, guidelines_version: version })
    .where(eq(queues.id, queue.id))
    .returning()
    .catch((error) => {
      throw isUniqueViolation(error) ? nameTaken(name) : error;
    });
  if (guidelines !== undefined) await storeGuidelines(transaction, row!, guidelines, actor);
  if (settings.reviews !== queue.settings.reviews) await recountDone(transaction, queue.id, settings.reviews);
  const changes = [
    ...(name === queue.name ? [] : ['name']),
    ...(status === queue.status ? [] : [status]),
    ...(guidelines === undefined ? [] : ['guidelines']),
    ...Object.keys(changed),
  ];
  await recordAudit(transaction, { actor, action: 'queue.updated', target: queue.id, details: { changed: changes } });
  return row!;
}

/** `for update` keeps reservations and votes out until the transaction ends; they lock it `for share`. */
export async function lockQueue(
  transaction: Database,
  id: string,
  strength: 'share' | 'update',
): Promise<QueueRow | null> {
  const [row] = await transaction
    .select()
    .from(queues)
    .where(and(eq(queues.id, id), isNull(queues.erased_at)))
    .for(strength);
  return row ?? null;
}

export async function findGuidelines(
  db: Pick<Database, 'select'>,
  queues: Pick<QueueRow, 'id' | 'guidelines_version'>[],
): Promise<Map<string, string>> {
  if (queues.length === 0) return new Map();
  const { queue_id, version, text } = queue_guidelines;
  const wanted = sql.join(
    queues.map((queue) => sql`(${queue.id}, ${queue.guidelines_version}::int)`),
    sql`, `,
  );
  const rows = await db
    .select({ queue_id, text })
    .from(queue_guidelines)
    .where(sql`(${queue_id}, ${version}) in (${wanted})`);
  return new Map(rows.map((row) => [row.queue_id, row.text]));
}

export async function findQueueOrThrow(db: Pick<Database, 'select'>, id: string): Promise<QueueRow> {
  const [row] = await db
    .select()
    .from(queues)
    .where(and(eq(queues.id, id), isNull(queues.erased_at)));
  if (row) return row;
  throw new AttuneError(`there is no queue ${id}; GET /v1/queues or \`attune queues list\` lists the queues`, {
    status: 404,
    param: 'id',
    code: 'not_found',
  });
}

async function storeGuidelines(transaction: Database, queue: QueueRow, text: string, actor: string): Promise<void> {
  const values = { queue_id: queue.id, version: queue.guidelines_version, text, created_by: actor };
  await transaction.insert(queue_guidelines).values(values);
}

/** An item has a given response to compare with, or it has none. */
async function assertPairingFits(transaction: Database, queue: QueueRow, { pairing }: QueueSettings): Promise<void> {
  const isGiven = pairing.type === 'given';
  if (isGiven === (queue.settings.pairing.type === 'given')) return;
  const hasItems = await transaction
    .select({ id: queue_items.id })
    .from(queue_items)
    .where(and(eq(queue_items.queue_id, queue.id), eq(queue_items.kind, 'rated')))
    .limit(1);
  if (hasItems.length > 0)
    throw new AttuneError(
      `pairing: the items of ${queue.id} ${isGiven ? 'have no' : 'have a'} given response; create another queue for this pairing`,
      { param: 'pairing', code: 'pairing_fixed' },
    );
}

async function recountDone(transaction: Database, queueId: string, reviews: number): Promise<void> {
  const state = sql`case when ${queue_items.reviews} >= ${reviews} then 'done'
    when ${queue_items.comparison_id} is null then 'pending' else 'open' end`;
  const isRated = and(
    eq(queue_items.queue_id, queueId),
    eq(queue_items.kind, 'rated'),
    ne(queue_items.state, 'dropped'),
  );
  await transaction.update(queue_items).set({ state }).where(isRated);
}

function nameTaken(name: string): AttuneError {
  return new AttuneError(`name: there is already a queue ${JSON.stringify(name)}; give another name`, {
    status: 409,
    param: 'name',
    code: 'name_taken',
    retry: false,
  });
}
