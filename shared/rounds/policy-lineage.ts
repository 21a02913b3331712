// What a policy learned from: the rounds of its lineage up to the root, each with its pairs by source and rater; and the other
// way round, which policies learned from a preference.

import { and, asc, eq, inArray, isNotNull, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { policies, preferences, round_pairs, rounds } from '../database/schema.ts';
import { walkLineage } from './lineage.ts';

export type LineageStep = {
  policy: string;
  name: string;
  createdAt: Date;
  /** null if the policy was imported */
  round: string | null;
  /** new pairs it was trained on, pairs of earlier rounds among them, and pairs it was only measured on */
  pairs: { learned: number; replayed: number; heldOut: number };
  /** trained pairs by source */
  sources: Record<string, number>;
  /** those with the most trained pairs */
  raters: { rater: string; pairs: number }[];
  raterCount: number;
};

/** Raters that a step names. */
const MAX_RATERS = 20;

/** The policy and its ancestors, at most `limit`, and the next one. `tenant`: whose raters are named; null: those of all. */
export async function readLineage(
  db: Database,
  policyId: string,
  limit: number,
  tenant: string | null = null,
): Promise<{ steps: LineageStep[]; next: string | null }> {
  const chain: { id: string; round_id: string | null }[] = [];
  for await (const ancestor of walkLineage(db, policyId, limit + 1)) if (chain.push(ancestor) > limit) break;
  const steps = chain.slice(0, limit);
  const roundIds = steps.flatMap(({ round_id }) => round_id ?? []);
  const rows = await db
    .select()
    .from(policies)
    .where(
      inArray(
        policies.id,
        steps.map(({ id }) => id),
      ),
    );
  const [counts, raters] = roundIds.length > 0 ? await countPairs(db, roundIds, tenant) : [[], []];
  return {
    steps: steps.map(({ id, round_id: round }) => {
      const { name, created_at } = rows.find((row) => row.id === id)!;
      const own = counts.filter(({ round_id }) => round_id === round);
      const trained = own.filter(({ split }) => split === 'train');
      const count = (kept: typeof own) => kept.reduce((sum, row) => sum + row.count, 0);
      const ownRaters = raters.filter(({ round_id }) => round_id === round);
      return {
        policy: id,
        name,
        createdAt: created_at,
        round,
        pairs: {
          learned: count(trained.filter(({ replay }) => !replay)),
          replayed: count(trained.filter(({ replay }) => replay)),
          heldOut: count(own.filter(({ split }) => split === 'held_out')),
        },
        sources: Object.fromEntries(
          [...Map.groupBy(trained, ({ source }) => source)].map(([source, some]) => [source, count(some)]),
        ),
        raters: ownRaters.map(({ rater, pairs }) => ({ rater, pairs })),
        raterCount: ownRaters[0]?.rater_count ?? 0,
      };
    }),
    next: chain[limit]?.id ?? null,
  };
}

async function countPairs(db: Database, roundIds: string[], tenant: string | null) {
  const counts = await db
    .select({
      round_id: round_pairs.round_id,
      split: round_pairs.split,
      replay: round_pairs.replay,
      source: preferences.source,
      count: sql<number>`count(*)::int`,
    })
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id))
    .where(and(inArray(round_pairs.round_id, roundIds), eq(round_pairs.left_out, false)))
    .groupBy(round_pairs.round_id, round_pairs.split, round_pairs.replay, preferences.source);
  const raters = await db.execute<{ round_id: string; rater: string; pairs: number; rater_count: number }>(sql`
    select round_id, rater, pairs, rater_count from (
      select round_id, rater, count(*)::int as pairs, count(*) over (partition by round_id)::int as rater_count,
        row_number() over (partition by round_id order by count(*) desc, rater) as place
      from ${round_pairs} join (
        select id, tenant, case when erased_at is null then rater else 'erased' end as rater from ${preferences}
      ) as votes on votes.id = ${round_pairs.preference_id}
      where ${inArray(round_pairs.round_id, roundIds)} and split = 'train' and not left_out
        and ${tenant === null ? sql`true` : sql`votes.tenant = ${tenant}`}
      group by round_id, rater
    ) as ranked
    where place <= ${MAX_RATERS} order by round_id, place`);
  return [counts, raters] as const;
}

/** By preference, the policies and rewards whose rounds trained on it; their descendants learned from it too. */
export async function listLearners(db: Database, preferenceIds: string[]): Promise<Map<string, string[]>> {
  if (preferenceIds.length === 0) return new Map();
  const rows = await db
    .select({ preference: round_pairs.preference_id, policy: rounds.policy_id })
    .from(round_pairs)
    .innerJoin(rounds, eq(rounds.id, round_pairs.round_id))
    .where(
      and(
        inArray(round_pairs.preference_id, preferenceIds),
        eq(round_pairs.split, 'train'),
        eq(round_pairs.left_out, false),
        isNotNull(rounds.policy_id),
      ),
    )
    .orderBy(asc(rounds.policy_id));
  const groups = Map.groupBy(rows, ({ preference }) => preference);
  return new Map([...groups].map(([id, learned]) => [id, learned.map(({ policy }) => policy!)]));
}
