// Which pairs a round learns from: those no finished round has used, a replay of older ones, and the held-out ones.
// Held-out is decided by a hash of the prompt alone, so a prompt that was ever held out is never trained on.

import { and, desc, eq, inArray, ne, sql } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { generations, type Prompt, preferences, round_pairs, rounds } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/hash.ts';
import type { Settings } from '../../shared/settings.ts';

/** A preference with what its two sides are made of. */
export type Candidate = {
  id: string;
  prompt: Prompt;
  chosen: string;
  rejected: string;
  /** the sides as they were sampled, where a policy of ours did */
  sampled: { prompt: number[]; chosen: number[]; rejected: number[] } | null;
};
export type Selected = Candidate & { split: 'train' | 'held_out'; replay: boolean };

const HELD_OUT_MOST = 512;

/** The pairs of the next round. Newest first up to TRAIN_MAX_PAIRS, then replay as a share of the new ones. */
export async function selectPairs(db: Database, settings: Settings): Promise<Selected[]> {
  const split = await Promise.all(
    (await findCandidates(db, settings)).map(async (candidate) => ({
      ...candidate,
      split: (await isHeldOut(candidate.prompt, settings.TRAIN_HELD_OUT)) ? ('held_out' as const) : ('train' as const),
    })),
  );
  const train = split.filter((pair) => pair.split === 'train');
  const fresh = train.filter((pair) => !pair.replay).slice(0, settings.TRAIN_MAX_PAIRS);
  const room = Math.min(Math.round(fresh.length * settings.TRAIN_REPLAY), settings.TRAIN_MAX_PAIRS - fresh.length);
  const replayed = train.filter((pair) => pair.replay).slice(0, room);
  const heldOut = split.filter((pair) => pair.split === 'held_out').slice(0, HELD_OUT_MOST);
  return [...fresh, ...replayed, ...heldOut];
}

/** How many strict preferences no finished round has used yet, held-out ones included. */
export async function countNewPairs(db: Database): Promise<number> {
  const [row] = await db
    .select({ n: sql<number>`count(*)::int` })
    .from(preferences)
    .where(and(isStrict, sql`not ${wasUsed}`));
  return row?.n ?? 0;
}

const isStrict = and(inArray(preferences.choice, ['a', 'b']), ne(preferences.chosen, preferences.rejected));
const wasUsed = sql`exists (
  select 1 from ${round_pairs} join ${rounds} on ${rounds.id} = ${round_pairs.round_id}
  where ${round_pairs.preference_id} = ${preferences.id} and ${rounds.status} = 'succeeded')`;

async function findCandidates(db: Database, settings: Settings): Promise<(Candidate & { replay: boolean })[]> {
  const select = (used: boolean, limit: number) =>
    db
      .select({ preference: preferences, used: sql<boolean>`${used}::boolean` })
      .from(preferences)
      .where(and(isStrict, used ? wasUsed : sql`not ${wasUsed}`))
      .orderBy(desc(preferences.id))
      .limit(limit);
  // Apart, so that a backlog is worked through however many pairs were used before it.
  const rows = [
    ...(await select(false, settings.TRAIN_MAX_PAIRS)),
    ...(await select(true, settings.TRAIN_MAX_PAIRS + HELD_OUT_MOST)),
  ];
  const ids = rows.flatMap(({ preference }) =>
    [preference.chosen_generation_id, preference.rejected_generation_id].filter((id) => id !== null),
  );
  const sampled = new Map<string, typeof generations.$inferSelect>();
  for (let at = 0; at < ids.length; at += 1000) {
    const found = await db
      .select()
      .from(generations)
      .where(inArray(generations.id, ids.slice(at, at + 1000)));
    for (const row of found) sampled.set(row.id, row);
  }
  return rows.map(({ preference, used }) => {
    const chosen = sampled.get(preference.chosen_generation_id ?? '');
    const rejected = sampled.get(preference.rejected_generation_id ?? '');
    return {
      id: preference.id,
      prompt: preference.prompt,
      chosen: preference.chosen,
      rejected: preference.rejected,
      sampled:
        chosen && rejected
          ? { prompt: chosen.prompt_token_ids, chosen: tokensOf(chosen), rejected: tokensOf(rejected) }
          : null,
      replay: used,
    };
  });
}

/** With the end-of-text token where the policy drew one: stopping there was its choice too. */
function tokensOf(row: typeof generations.$inferSelect): number[] {
  return row.stop_token === null ? row.token_ids : [...row.token_ids, row.stop_token];
}

/** Whether this prompt's pairs are only evaluated on; the same for ever, whatever else there is. */
export async function isHeldOut(prompt: Prompt, share: number): Promise<boolean> {
  const hash = await hashContent(prompt);
  return Number.parseInt(hash.slice(0, 8), 16) / 2 ** 32 < share;
}

/** Records what a round uses, in one statement per thousand. */
export async function recordPairs(db: Database, roundId: string, pairs: Selected[]): Promise<void> {
  const rows = pairs.map((pair) => ({
    round_id: roundId,
    preference_id: pair.id,
    split: pair.split,
    replay: pair.replay,
  }));
  await db.delete(round_pairs).where(eq(round_pairs.round_id, roundId));
  for (let at = 0; at < rows.length; at += 1000) await db.insert(round_pairs).values(rows.slice(at, at + 1000));
}
