// Which policies and rewards learned from what was erased. Computed when it is asked for: a round that had selected a pair
// before it was erased publishes its policy later.
import { and, eq, inArray, isNotNull, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { erasures, preferences, round_pairs, rounds } from '../database/schema.ts';
import { walkLineage } from '../rounds/lineage.ts';

const LINEAGE_CHUNK = 1000;

/** By erasure, those whose rounds trained on its pairs, or on the scores of a reward that did. Default: of all erasures. */
export async function listErasedLearners(db: Database, erasureIds?: string[]): Promise<Map<string, string[]>> {
  const trained = await db
    .selectDistinct({ erasure: erasures.id, policy: rounds.policy_id })
    .from(erasures)
    .innerJoin(preferences, and(isNotNull(preferences.erased_at), eq(preferences.erased_at, erasures.created_at)))
    .innerJoin(round_pairs, and(eq(round_pairs.preference_id, preferences.id), eq(round_pairs.split, 'train')))
    .innerJoin(rounds, and(eq(rounds.id, round_pairs.round_id), isNotNull(rounds.policy_id)))
    .where(erasureIds && inArray(erasures.id, erasureIds));
  const rewards = [...new Set(trained.map(({ policy }) => policy!).filter((id) => id.startsWith('rwd_')))];
  const reward = sql<string>`${rounds.settings}->>'reward'`;
  const distilled =
    rewards.length === 0
      ? []
      : await db
          .select({ reward, policy: rounds.policy_id })
          .from(rounds)
          .where(and(inArray(reward, rewards), isNotNull(rounds.policy_id)));
  const learners = new Map<string, Set<string>>();
  for (const { erasure, policy } of trained) {
    const own = learners.get(erasure) ?? new Set();
    learners.set(erasure, own.add(policy!));
    for (const row of distilled) if (row.reward === policy) own.add(row.policy!);
  }
  return new Map([...learners].map(([erasure, ids]) => [erasure, [...ids].sort()]));
}

/** The policy and its ancestors, as far as they learned from what was erased. */
export async function listErasedAncestors(db: Database, policyId: string): Promise<Set<string>> {
  const learners = new Set([...(await listErasedLearners(db)).values()].flat());
  return learners.size === 0 ? learners : learners.intersection(await listLineage(db, policyId));
}

export async function listLineage(db: Database, policyId: string | null): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const { id } of walkLineage(db, policyId, LINEAGE_CHUNK)) ids.add(id);
  return ids;
}
