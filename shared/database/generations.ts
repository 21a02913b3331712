// Reads stored generations together with what they share with the other choices of their completion.

import { eq, getTableColumns } from 'drizzle-orm';
import type { Database } from './connect.ts';
import { completions, generations } from './schema.ts';

const { id, xid, ...sharedColumns } = getTableColumns(completions);

export type StoredGeneration = Omit<typeof completions.$inferSelect, 'id' | 'xid'> & typeof generations.$inferSelect;

/** A query to add a condition to. */
export function selectGenerations(db: Pick<Database, 'select'>) {
  return db
    .select({ ...sharedColumns, ...getTableColumns(generations) })
    .from(generations)
    .innerJoin(completions, eq(completions.id, generations.completion_id));
}

/**
 * Whether the request decided what the text says: a response format or a logit bias can leave a single text possible. A
 * preference for it is as good as a given text.
 */
export function isSteered({ sampling }: Pick<StoredGeneration, 'sampling'>): boolean {
  const { response_format, logitBias } = sampling;
  return response_format !== undefined || Object.keys(logitBias ?? {}).length > 0;
}
