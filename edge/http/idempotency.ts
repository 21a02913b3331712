// A request with an Idempotency-Key (or an id in its body) takes effect once, as with Stripe: its response is stored in the
// transaction that it acknowledges, a repetition gets that response, and other content under the same key a conflict. A
// key belongs to its caller and operation, and expires. There is no row for "in progress", which a crash would leave behind.

import { z } from '@hono/zod-openapi';
import { and, eq, gt, lte, type SQL, sql } from 'drizzle-orm';
import type { Context } from 'hono';
import type { Database } from '../../shared/database/connect.ts';
import { idempotency_keys } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Settings } from '../../shared/settings.ts';
import { getClientId, getTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { readJson } from './request-body.ts';
import { listResourceIds } from './resource-ids.ts';

declare module 'hono' {
  interface ContextVariableMap {
    idempotentRequest: IdempotentRequest | undefined;
  }
}

export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0];

export type IdempotentRequest = {
  caller: string;
  tenant: string;
  operation: string;
  key: string;
  /** of the content, which must be equal for all requests with one key */
  hash: string;
};

export const IDEMPOTENCY_HEADER = 'Idempotency-Key';

/** Characters; Stripe's limit, and well below what Postgres can index. */
export const MAX_KEY_LENGTH = 255;
/** Expired keys that each new key removes: more than one, so that they cannot pile up. */
const REMOVED_PER_KEY = 10;

export const idempotencyKeyField = z
  .string()
  .min(1)
  .max(MAX_KEY_LENGTH)
  .optional()
  .openapi({ description: `an idempotency key, as an alternative to the header ${IDEMPOTENCY_HEADER}` });

/** The request under its key; undefined if it has none. Throws if the header is not a key. */
export async function identifyRequest(context: Context, operation: string): Promise<IdempotentRequest | undefined> {
  const header = context.req.header(IDEMPOTENCY_HEADER);
  if (header !== undefined) assertValidKey(header);
  const hasBody = (await context.req.text()) !== '';
  const body = hasBody ? await readJson(context) : null;
  const key = header ?? (body as { id?: unknown } | null)?.id;
  if (typeof key !== 'string') return undefined;
  const hash = hashContent({ path: context.req.path, body });
  return { caller: getClientId(context), tenant: getTenant(context), operation, key, hash };
}

function assertValidKey(header: string): void {
  const problem =
    header.trim() === ''
      ? 'is empty'
      : header.length > MAX_KEY_LENGTH
        ? `is longer than ${MAX_KEY_LENGTH} characters`
        : /^[\x20-\x7e]+$/.test(header)
          ? null
          : 'has characters other than printable ASCII';
  if (!problem) return;
  throw new AttuneError(`${IDEMPOTENCY_HEADER} ${problem}; send a UUID or another unique text, or omit the header`, {
    param: IDEMPOTENCY_HEADER,
    code: 'invalid_idempotency_key',
  });
}

/** The stored response, in an object since it may be null. Throws if the key was used for other content. */
export async function findStoredResponse(
  { db, settings }: Pick<Ports, 'db' | 'settings'>,
  { caller, operation, key, hash }: IdempotentRequest,
): Promise<{ response: unknown } | null> {
  const [row] = await db
    .select()
    .from(idempotency_keys)
    .where(
      and(
        eq(idempotency_keys.caller, caller),
        eq(idempotency_keys.operation, operation),
        eq(idempotency_keys.key, key),
        gt(idempotency_keys.created_at, getExpiry(settings)),
      ),
    );
  if (!row) return null;
  if (row.request_hash !== hash)
    throw new AttuneError('this idempotency key was used for a different request; send a new key', {
      status: 409,
      code: 'idempotency_conflict',
      retry: false,
    });
  return { response: row.response };
}

/** Runs `work` in a transaction that also stores its result under the request's key. */
export function commitOnce<T>(
  { db, settings }: Pick<Ports, 'db' | 'settings'>,
  request: IdempotentRequest | undefined,
  work: (transaction: Transaction) => Promise<T>,
): Promise<T> {
  if (!request) return db.transaction(work);
  return db.transaction(async (transaction) => {
    const response = await work(transaction);
    await storeResponse(transaction, request, settings, response);
    return response;
  });
}

/**
 * The stored response of a request that failed: another one with its key was faster, or it was stored and only the
 * acknowledgement was lost. Throws the failure if there is none.
 */
export async function recoverResponse(
  ports: Pick<Ports, 'db' | 'settings'>,
  request: IdempotentRequest | undefined,
  failure: unknown,
): Promise<unknown> {
  if (!request) throw failure;
  const earlier = await findStoredResponse(ports, request).catch((error) => {
    throw error instanceof AttuneError ? error : failure;
  });
  if (!earlier) throw failure;
  return earlier.response;
}

async function storeResponse(
  transaction: Transaction,
  { caller, tenant, operation, key, hash }: IdempotentRequest,
  settings: Settings,
  response: unknown,
): Promise<void> {
  const expiry = getExpiry(settings);
  const resourceIds = listResourceIds(response);
  const content = { tenant, request_hash: hash, response, resource_ids: resourceIds, created_at: sql`now()` };
  const stored = await transaction
    .insert(idempotency_keys)
    .values({ caller, operation, key, ...content })
    .onConflictDoUpdate({
      target: [idempotency_keys.caller, idempotency_keys.operation, idempotency_keys.key],
      set: content,
      setWhere: lte(idempotency_keys.created_at, expiry),
    })
    .returning({ key: idempotency_keys.key });
  // Rolls back all of it. A stream that has begun can only report this; any other request gets the stored response.
  if (stored.length === 0)
    throw new AttuneError('another request with this idempotency key was faster; repeat this one to get its response', {
      status: 409,
      code: 'idempotency_race',
      retry: true,
    });
  // Rows that another transaction removes are skipped, so that none waits for another.
  await transaction.execute(sql`delete from ${idempotency_keys} where (caller, operation, key) in (
    select caller, operation, key from ${idempotency_keys} where created_at <= ${expiry}
    order by created_at limit ${REMOVED_PER_KEY} for update skip locked)`);
}

/** By Postgres's clock, which is the same for all processes. */
function getExpiry({ IDEMPOTENCY_HOURS }: Settings): SQL {
  return sql`now() - make_interval(secs => ${IDEMPOTENCY_HOURS * 3600})`;
}
