// Whose or which data is erased: all of an end user, a rater or a key in a tenant, or one stored row by its id.
import { and, eq, inArray, or, type SQL } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import {
  api_keys,
  comparisons,
  completions,
  type ErasureSubject,
  feedback,
  generations,
  preferences,
  raters,
} from '../database/schema.ts';
import { AttuneError } from '../error.ts';

export type Subject = { kind: ErasureSubject; value: string; tenant: string };

type Reader = Pick<Database, 'select'>;

/** `tenant`: that of a name; a row, also that of a rater or a key, has its own. Throws a 404 if there is no such row. */
export async function findSubject(db: Reader, kind: ErasureSubject, value: string, tenant: string): Promise<Subject> {
  // Only the votes would go, and not the completions.
  if (kind === 'rater' && value.startsWith('user:'))
    throw new AttuneError(`rater: is an end user; give ${JSON.stringify({ user: value.slice('user:'.length) })}`, {
      param: 'rater',
      code: 'invalid_value',
    });
  const own = await findTenant(db, kind, value);
  const isName = kind === 'user' || kind === 'rater' || kind === 'key';
  if (own === null && !isName) throw nothingToErase(kind, value);
  return { kind, value, tenant: own ?? tenant };
}

/** The rows that are the subject's own, by table; undefined: none of this table. */
export function matchRows(
  db: Reader,
  { kind, value, tenant }: Subject,
): {
  completions?: SQL | undefined;
  comparisons?: SQL | undefined;
  preferences?: SQL | undefined;
  feedback?: SQL | undefined;
} {
  switch (kind) {
    case 'user':
      return {
        completions: and(eq(completions.tenant, tenant), eq(completions.user, value)),
        preferences: and(eq(preferences.tenant, tenant), eq(preferences.rater, `user:${value}`)),
        feedback: and(eq(feedback.tenant, tenant), eq(feedback.rater, `user:${value}`)),
      };
    case 'rater': {
      const given = {
        preferences: and(eq(preferences.tenant, tenant), eq(preferences.rater, value)),
        feedback: and(eq(feedback.tenant, tenant), eq(feedback.rater, value)),
      };
      if (!isRaterId(value)) return given;
      const stored = matchStored(value, tenant);
      return {
        ...stored,
        preferences: or(given.preferences, stored.preferences),
        feedback: or(given.feedback, stored.feedback),
      };
    }
    case 'key':
      return matchStored(value, tenant);
    case 'generation': {
      const own = db.select({ id: generations.completion_id }).from(generations).where(eq(generations.id, value));
      return { completions: inArray(completions.id, own) };
    }
    case 'completion':
      return { completions: eq(completions.id, value) };
    case 'comparison':
      return { comparisons: eq(comparisons.id, value) };
    case 'preference':
      return { preferences: eq(preferences.id, value) };
  }
}

/** As votes and reservations name the subject; null if it is no rater. */
export function getRaterName({ kind, value }: Subject): string | null {
  if (kind === 'user') return `user:${value}`;
  return kind === 'rater' ? value : null;
}

/** A rater who signs in, and so stores rows too. Anyone else is a name in votes, which may also be that of a key. */
export function isRaterId(name: string): boolean {
  return name.startsWith('rater_');
}

/** What was stored with a key, or in the sessions of a rater. */
function matchStored(createdBy: string, tenant: string) {
  return {
    completions: and(eq(completions.tenant, tenant), eq(completions.created_by, createdBy)),
    comparisons: and(eq(comparisons.tenant, tenant), eq(comparisons.created_by, createdBy)),
    preferences: and(eq(preferences.tenant, tenant), eq(preferences.created_by, createdBy)),
    feedback: and(eq(feedback.tenant, tenant), eq(feedback.created_by, createdBy)),
  };
}

export function nothingToErase(kind: ErasureSubject, value: string): AttuneError {
  return new AttuneError(
    `${kind}: nothing is stored of the ${kind} ${JSON.stringify(value)}, or all of it was erased before; GET /v1/erasures lists the erasures`,
    { status: 404, param: kind, code: 'nothing_to_erase', retry: false },
  );
}

async function findTenant(db: Reader, kind: ErasureSubject, value: string): Promise<string | null> {
  const find = async (
    table: typeof raters | typeof api_keys | typeof completions | typeof comparisons | typeof preferences,
  ) => {
    const [row] = await db.select({ tenant: table.tenant }).from(table).where(eq(table.id, value));
    return row?.tenant ?? null;
  };
  if (kind === 'rater') return find(raters);
  if (kind === 'key') return find(api_keys);
  if (kind === 'completion') return find(completions);
  if (kind === 'comparison') return find(comparisons);
  if (kind === 'preference') return find(preferences);
  if (kind === 'user') return null;
  const [row] = await db
    .select({ tenant: completions.tenant })
    .from(generations)
    .innerJoin(completions, eq(completions.id, generations.completion_id))
    .where(eq(generations.id, value));
  return row?.tenant ?? null;
}
