// A request with an Idempotency-Key (or an id in its body) takes effect once. The stored answer is committed together
// with what it acknowledges; the same content gets that answer again, other content under the same key a conflict.

import { eq } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { idempotency_keys } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';

export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0];

/** As long as Postgres can index, with room to spare. */
const LONGEST_KEY = 200;

export type IdempotentRequest = {
  /** the operation, so that one key may serve two of them */
  scope: string;
  key: string | undefined;
  /** what the key stands for */
  content: unknown;
};

/**
 * Prepares (slow work, outside any transaction), commits, and returns the answer; or the answer of the first request
 * with this key.
 */
export async function runOnce<P, T>(
  db: Database,
  { scope, key, content }: IdempotentRequest,
  prepare: () => Promise<P>,
  commit: (transaction: Transaction, prepared: P) => Promise<T>,
): Promise<T> {
  if (key === undefined) {
    const prepared = await prepare();
    return db.transaction((transaction) => commit(transaction, prepared));
  }
  if (key.length > LONGEST_KEY)
    throw new AttuneError(`the idempotency key is longer than ${LONGEST_KEY} characters; send a shorter one`, {
      param: 'id',
    });
  const stored = `${scope}:${key}`;
  const hash = await hashContent(content);
  const earlier = await replay<T>(db, stored, hash);
  if (earlier) return earlier.answer;
  const prepared = await prepare();
  try {
    return await db.transaction(async (transaction) => {
      const response = await commit(transaction, prepared);
      await transaction.insert(idempotency_keys).values({ key: stored, request_hash: hash, response });
      return response;
    });
  } catch (error) {
    // Two requests with one key at once: the slower one's work is undone and it gets the faster one's answer.
    const winner = await replay<T>(db, stored, hash);
    if (winner) return winner.answer;
    throw error;
  }
}

/** The stored answer, or null; throws where the key was used for something else. */
async function replay<T>(db: Database, stored: string, hash: string): Promise<{ answer: T } | null> {
  const [row] = await db.select().from(idempotency_keys).where(eq(idempotency_keys.key, stored));
  if (!row) return null;
  if (row.request_hash !== hash)
    throw new AttuneError('this idempotency key was used for a different request; send a new key', {
      status: 409,
      code: 'idempotency_conflict',
      retry: false,
    });
  return { answer: row.response as T };
}
