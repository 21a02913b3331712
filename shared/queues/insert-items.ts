// Inserts items into a queue, each content once. Responses that are given become a completion and a comparison of their own.

import { sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { Owner } from '../access/owner.ts';
import type { Database } from '../database/connect.ts';
import { insertRows } from '../database/insert-rows.ts';
import { comparisons, completions, generations, queue_items } from '../database/schema.ts';
import { hashContent } from '../digest.ts';
import { newId } from '../id.ts';
import { type Redact, redactPrompt, redactValue } from '../redaction/redact.ts';
import type { ItemInput } from './item-input.ts';
import type { QueueRow } from './queues.ts';

const CHUNK = 500;

type RedactedItem = ItemInput & { redacted: boolean };

/** Returns how many were new. `onInserted` is called after each chunk. */
export async function insertItems(
  transaction: Database,
  queue: Pick<QueueRow, 'id'>,
  items: RedactedItem[],
  owner: Owner,
): Promise<number> {
  let inserted = 0;
  for (let at = 0; at < items.length; at += CHUNK)
    inserted += await insertChunk(transaction, queue, items.slice(at, at + CHUNK), owner);
  return inserted;
}

/** Before the transaction that inserts it. */
export async function redactItem(redact: Redact | null, item: ItemInput): Promise<RedactedItem> {
  const { sides, given, explanation } = item;
  const texts = await redactValue(redact, { sides, given, explanation });
  const prompt = await redactPrompt(redact, item.prompt);
  return {
    ...item,
    ...texts,
    prompt,
    redacted: prompt !== item.prompt || texts.sides !== sides || texts.given !== given,
  };
}

async function insertChunk(
  transaction: Database,
  queue: Pick<QueueRow, 'id'>,
  items: RedactedItem[],
  owner: Owner,
): Promise<number> {
  const rows = items.map((item) => {
    const { kind, prompt, group, given, sides, expected, explanation, drawnFrom, redacted } = item;
    return {
      id: newId('item_'),
      queue_id: queue.id,
      kind,
      prompt,
      prompt_group: group,
      given,
      expected,
      explanation,
      drawn_from: drawnFrom,
      redacted,
      // Of real traffic each prompt once, whichever response it got.
      content_hash: hashContent({
        prompt,
        given: drawnFrom === null ? given : null,
        sides,
        // Two texts may be rated, and measure raters.
        ...(kind === 'rated' ? {} : { kind, expected }),
      }),
      ...owner,
    };
  });
  const stored = await transaction.execute<{ id: string }>(
    sql`${insertRows(queue_items, rows)} on conflict do nothing returning id`,
  );
  const ids = new Set(stored.map(({ id }) => id));
  const withSides = items.flatMap((item, at) =>
    item.sides && ids.has(rows[at]!.id) ? [{ id: rows[at]!.id, item, sides: item.sides }] : [],
  );
  if (withSides.length > 0) await storeSides(transaction, queue, withSides, owner);
  return stored.length;
}

/** In two completions, which an erasure of either side removes with the comparison. */
async function storeSides(
  transaction: Database,
  queue: Pick<QueueRow, 'id'>,
  items: { id: string; item: RedactedItem; sides: readonly [string, string] }[],
  owner: Owner,
): Promise<void> {
  const given = items.map(({ id, item, sides }) => {
    const [a, b] = sides.map((text) => toGivenCompletion(item, text, owner)) as [GivenCompletion, GivenCompletion];
    const comparison = newId('cmp_');
    const row = {
      id: comparison,
      prompt: item.prompt,
      a_generation_id: a.generation.id,
      b_generation_id: b.generation.id,
      swapped: false,
      queue_id: queue.id,
      ...owner,
    };
    return { id, completions: [a, b], comparison: row };
  });
  const rows = given.flatMap((each) => each.completions);
  const insert = <T extends PgTable>(table: T, values: T['$inferInsert'][]) =>
    transaction.execute(insertRows(table, values));
  await insert(
    completions,
    rows.map(({ completion }) => completion),
  );
  await insert(
    generations,
    rows.map(({ generation }) => generation),
  );
  await insert(
    comparisons,
    given.map(({ comparison }) => comparison),
  );
  const made = given.map(({ id, comparison }) => ({ item: id, comparison: comparison.id }));
  await transaction.execute(sql`
    update ${queue_items} set comparison_id = made.comparison, state = 'open'
    from jsonb_to_recordset(${JSON.stringify(made)}::jsonb) as made (item text, comparison text) where id = made.item`);
}

export type GivenCompletion = {
  completion: typeof completions.$inferInsert;
  generation: typeof generations.$inferInsert;
};

/** A response that no policy generated. */
export function toGivenCompletion(
  { prompt, redacted }: Pick<RedactedItem, 'prompt' | 'redacted'>,
  text: string,
  { tenant, created_by }: Owner,
): GivenCompletion {
  const id = newId(typeof prompt === 'string' ? 'cmpl-' : 'chatcmpl-');
  return {
    completion: {
      id,
      kind: 'given',
      policy_id: 'given',
      prompt,
      prompt_token_ids: [],
      sampling: {},
      seed: 0,
      redacted,
      tenant,
      created_by,
    },
    generation: { id, completion_id: id, choice: 0, text, token_ids: [], logps: [], finish_reason: 'stop' },
  };
}
