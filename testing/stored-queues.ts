// Queues as the API stores them, for tests of who is given what.

import type { Database } from '../shared/database/connect.ts';
import { queueSettingsSchema } from '../shared/queue-settings.ts';
import { insertItems } from '../shared/queues/insert-items.ts';
import type { ItemInput } from '../shared/queues/item-input.ts';
import { createQueue, type QueueRow } from '../shared/queues/queues.ts';

const OWNER = { tenant: 'default', created_by: 'key_operator' };

let queues = 0;

/** With neither gold nor repeated items, unless the settings say so. */
export function storeQueue(db: Database, settings: object = {}): Promise<QueueRow> {
  const parsed = queueSettingsSchema.parse({ gold_share: 0, repeat_share: 0, ...settings });
  const fields = { name: `queue ${++queues}`, guidelines: '', settings: parsed };
  return db.transaction((transaction) => createQueue(transaction, fields, OWNER));
}

/** Items with two given responses, unless `given` says otherwise. */
export async function storeItems(
  db: Database,
  queue: QueueRow,
  count: number,
  given: Partial<ItemInput> | ((at: number) => Partial<ItemInput>) = {},
): Promise<void> {
  const items = Array.from({ length: count }, (_, at) => ({
    kind: 'rated' as const,
    prompt: `prompt ${at}`,
    group: '',
    given: null,
    sides: [`first ${at}`, `second ${at}`] as const,
    expected: null,
    explanation: null,
    drawnFrom: null,
    redacted: false,
    ...(typeof given === 'function' ? given(at) : given),
  }));
  await db.transaction((transaction) => insertItems(transaction, queue, items, OWNER));
}
