// A queue with an item that raters have voted on, for tests of what is made of their votes.

import { eq } from 'drizzle-orm';
import type { Prompt } from '../shared/chat-message.ts';
import type { Database } from '../shared/database/connect.ts';
import { comparisons, queue_guidelines, queue_items, queues, reservations } from '../shared/database/schema.ts';
import { queueSettingsSchema } from '../shared/queue-settings.ts';
import { storeComparison, storePreference } from './stored-rows.ts';

export async function storeVersionedQueue(db: Database, id: string): Promise<void> {
  const settings = queueSettingsSchema.parse({});
  await db.insert(queues).values({ id, name: id, settings, guidelines_version: 2 });
  await db.insert(queue_guidelines).values({ queue_id: id, version: 2, text: 'Be fair', created_by: 'test' });
}

/** An item with a comparison of a chat, on which one rater voted, with an edit, one was measured, and one skipped. */
export async function storeVotedItem(db: Database, queue: string, prompt: Prompt): Promise<string> {
  const { id, sides } = await storeComparison(db, `of ${queue}`);
  await db.update(comparisons).set({ prompt, queue_id: queue, metadata: null }).where(eq(comparisons.id, id));
  await db.insert(queue_items).values({
    id: `item_${queue}`,
    queue_id: queue,
    prompt,
    content_hash: queue,
    comparison_id: id,
    prompt_group: 'short',
  });
  const reserve = (rater: string, fields: Partial<typeof reservations.$inferInsert>) =>
    db.insert(reservations).values({
      id: `res_${queue}_${rater}`,
      queue_id: queue,
      item_id: `item_${queue}`,
      rater,
      swapped: rater === 'rater_1',
      probability: 0.25,
      guidelines_version: 2,
      expires_at: new Date(),
      ...fields,
    });
  await reserve('rater_1', { state: 'voted' });
  await reserve('rater_2', { state: 'voted', purpose: 'repeat', choice: 'b', strength: 'much', seconds: 1.5 });
  await reserve('rater_3', { state: 'skipped' });
  await reserve('rater_4', { state: 'open' });
  const vote = await storePreference(db, 'vote', {
    source: 'comparison',
    comparison_id: id,
    rater: 'rater_1',
    strength: 'slightly',
    tags: ['true', 'brief'],
    comment: 'the first is right',
    seconds: 12.25,
    reservation_id: `res_${queue}_rater_1`,
    metadata: { n: 1 },
    chosen_generation_id: sides[0]!,
    rejected_generation_id: sides[1]!,
  });
  await storePreference(db, 'edited', { source: 'demonstration', rater: 'rater_1', edit_of: vote, chosen: 'edited' });
  return id;
}
