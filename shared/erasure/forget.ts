// What an erasure removes beside the rows themselves: stored responses, the ledger of new pairs, totals, and names.
import { and, eq, inArray, isNull, notExists, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import {
  feedback,
  idempotency_keys,
  invitations,
  new_pairs,
  preference_counts,
  preferences,
  raters,
  rounds,
  voters,
} from '../database/schema.ts';
import type { BlankedPreference } from './blank-rows.ts';
import { toChunks } from './find-rows.ts';

/** The stored responses to the requests with an Idempotency-Key that have one of these ids. */
export async function forgetResponses(transaction: Database, ids: string[]): Promise<void> {
  for (const chunk of toChunks(ids)) {
    const isAbout = sql`${idempotency_keys.resource_ids} && array(select json_array_elements_text(${JSON.stringify(chunk)}::json))`;
    await transaction.delete(idempotency_keys).where(isAbout);
  }
}

/** Those to a caller's own requests, also if what they are about was not stored. */
export async function forgetResponsesTo(transaction: Database, caller: string): Promise<void> {
  await transaction.delete(idempotency_keys).where(eq(idempotency_keys.caller, caller));
}

/** Feedback whose demonstration is one of these preferences: found by its generation, of which there is an index. */
export function isDemonstratedBy(db: Pick<Database, 'select'>, preferenceIds: string[]): SQL | undefined {
  const shown = db
    .select({ id: preferences.rejected_generation_id })
    .from(preferences)
    .where(and(inArray(preferences.id, preferenceIds), eq(preferences.source, 'demonstration')));
  return and(inArray(feedback.generation_id, shown), inArray(feedback.preference_id, preferenceIds));
}

/** The copies of the texts of these preferences in feedback. */
export async function forgetDemonstrations(transaction: Database, preferenceIds: string[]): Promise<void> {
  for (const chunk of toChunks(preferenceIds))
    await transaction
      .update(feedback)
      .set({ demonstration: null, preference_id: null })
      .where(isDemonstratedBy(transaction, chunk));
}

/** Counterpart of the triggers on preferences, which an update does not fire. */
export async function uncount(transaction: Database, blanked: BlankedPreference[]): Promise<void> {
  for (const chunk of toChunks(blanked))
    await transaction.delete(new_pairs).where(
      inArray(
        new_pairs.preference_id,
        chunk.map(({ id }) => id),
      ),
    );
  const groups = Map.groupBy(blanked, ({ tenant, source, choice }) => JSON.stringify([tenant, source, choice]));
  // In one order, as the triggers.
  for (const key of [...groups.keys()].sort()) {
    const [tenant, source, choice] = JSON.parse(key) as [string, string, string];
    const row = { tenant, source, choice, shard: sql`pg_backend_pid() % 16`, count: -groups.get(key)!.length };
    const { count } = preference_counts;
    await transaction
      .insert(preference_counts)
      .values(row)
      .onConflictDoUpdate({
        target: [preference_counts.tenant, preference_counts.source, preference_counts.choice, preference_counts.shard],
        set: { count: sql`${count} + excluded.count` },
      });
  }
}

/** Removes the names of those who have no preference any more, also from the reports of rounds. */
export async function forgetNames(transaction: Database, blanked: BlankedPreference[]): Promise<void> {
  for (const [tenant, rows] of Map.groupBy(blanked, (row) => row.tenant)) {
    for (const names of toChunks([...new Set(rows.map(({ rater }) => rater))])) {
      const given = transaction
        .select()
        .from(preferences)
        .where(and(eq(preferences.tenant, voters.tenant), eq(preferences.rater, voters.name)));
      const gone = await transaction
        .delete(voters)
        .where(and(eq(voters.tenant, tenant), inArray(voters.name, names), notExists(given)))
        .returning({ name: voters.name });
      await replaceInReports(
        transaction,
        tenant,
        gone.map(({ name }) => name),
      );
    }
  }
}

async function replaceInReports(transaction: Database, tenant: string, names: string[]): Promise<void> {
  if (names.length === 0) return;
  const isGone = sql`(entry->>'tenant' = ${tenant} and
    entry->>'rater' in (select json_array_elements_text(${JSON.stringify(names)}::json)))`;
  await transaction.execute(sql`
    update ${rounds} set origins = jsonb_set(origins, '{raters}', (
      select jsonb_agg(case when ${isGone} then jsonb_set(entry, '{rater}', '"erased"') else entry end)
      from jsonb_array_elements(origins->'raters') as entry))
    where exists (select from jsonb_array_elements(origins->'raters') as entry where ${isGone})`);
}

/** Whether there was such a rater. Its links and its sessions are no longer valid. */
export async function eraseRater(transaction: Database, id: string, erasedAt: SQL<Date>): Promise<boolean> {
  const erased = await transaction
    .update(raters)
    .set({ name: '', skills: [], active: false, erased_at: erasedAt })
    .where(and(eq(raters.id, id), isNull(raters.erased_at)))
    .returning({ id: raters.id });
  await transaction.delete(invitations).where(eq(invitations.rater_id, id));
  return erased.length > 0;
}
