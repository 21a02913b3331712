// A request with an Idempotency-Key (or an id in its body) takes effect once. The response is stored in the transaction
// that it acknowledges: the same content under the same key gets the stored response, other content a conflict.

import { z } from '@hono/zod-openapi';
import { and, eq } from 'drizzle-orm';
import type { Context } from 'hono';
import type { Database } from '../../shared/database/connect.ts';
import { idempotency_keys } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';

export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0];

/** Characters; well below what Postgres can index. */
const MAX_KEY_LENGTH = 200;

export const idempotencyKeyField = z
  .string()
  .min(1)
  .max(MAX_KEY_LENGTH)
  .optional()
  .openapi({ description: 'an idempotency key, as an alternative to the header Idempotency-Key' });

export function getIdempotencyKey(context: Context, body: { id?: string | undefined }): string | undefined {
  return context.req.header('idempotency-key') ?? body.id;
}

export type IdempotentRequest = {
  /** the operation: keys of different operations are independent */
  scope: string;
  key: string | undefined;
  /** must be equal for two requests with one key */
  content: unknown;
};

/**
 * Runs `prepare` (slow work, outside any transaction), then `commit` in a transaction, and returns the response; or the
 * stored response of the first request with this key.
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
  if (key.length > MAX_KEY_LENGTH)
    throw new AttuneError(`the idempotency key is longer than ${MAX_KEY_LENGTH} characters; send a shorter one`, {
      param: 'id',
    });
  const id = { operation: scope, key };
  const hash = hashContent(content);
  const earlier = await findStoredResponse<T>(db, id, hash);
  if (earlier) return earlier.response;
  const prepared = await prepare();
  try {
    return await db.transaction(async (transaction) => {
      const response = await commit(transaction, prepared);
      await transaction.insert(idempotency_keys).values({ ...id, request_hash: hash, response });
      return response;
    });
  } catch (error) {
    // Of two concurrent requests with one key, the slower one is rolled back and gets the faster one's response.
    const first = await findStoredResponse<T>(db, id, hash);
    if (first) return first.response;
    throw error;
  }
}

/** Wrapped, since a response may be null. Throws if the key was used for other content. */
async function findStoredResponse<T>(
  db: Database,
  { operation, key }: { operation: string; key: string },
  hash: string,
): Promise<{ response: T } | null> {
  const [row] = await db
    .select()
    .from(idempotency_keys)
    .where(and(eq(idempotency_keys.operation, operation), eq(idempotency_keys.key, key)));
  if (!row) return null;
  if (row.request_hash !== hash)
    throw new AttuneError('this idempotency key was used for a different request; send a new key', {
      status: 409,
      code: 'idempotency_conflict',
      retry: false,
    });
  return { response: row.response as T };
}
