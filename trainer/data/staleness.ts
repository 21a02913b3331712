// The staleness of a pair: the number of policies between the one that sampled it and the one that a round starts from.
// The negatives of DIL should be samples of the reference; stale ones are off policy.
import type { Database } from '../../shared/database/connect.ts';
import { policies } from '../../shared/database/schema.ts';
import type { PreferencePair } from './pairs.ts';

/** The number of rounds back to each ancestor of a policy; 0 for the policy itself. */
export async function findAncestors(db: Database, policyId: string): Promise<Map<string, number>> {
  const rows = await db.select({ id: policies.id, parent: policies.parent_id }).from(policies);
  const parents = new Map(rows.map(({ id, parent }) => [id, parent]));
  const ancestors = new Map<string, number>();
  for (let id: string | null = policyId; id && !ancestors.has(id); id = parents.get(id) ?? null)
    ancestors.set(id, ancestors.size);
  return ancestors;
}

/** The larger staleness of the two sides; null if no ancestor sampled either (an import, a policy rolled back). */
export function getStaleness({ sampled }: PreferencePair, ancestors: ReadonlyMap<string, number>): number | null {
  const known = [sampled?.chosen.policyId, sampled?.rejected.policyId].flatMap((id) => ancestors.get(id ?? '') ?? []);
  return known.length === 0 ? null : Math.max(...known);
}

/** The number of pairs by staleness; `unknown` for null. */
export function countByStaleness(values: (number | null)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value ?? 'unknown'] = (counts[value ?? 'unknown'] ?? 0) + 1;
  return counts;
}
