// The staleness of a pair: the number of policies between the one that sampled it and the one that a round starts from.
// The negatives of DIL should be samples of the reference; stale ones are off policy.
import type { Database } from '../../shared/database/connect.ts';
import { walkLineage } from '../../shared/rounds/lineage.ts';
import type { PreferencePair } from './pairs.ts';

/** The number of rounds back from a policy to each of its ancestors that sampled one of the pairs; 0 for itself. */
export async function findAncestors(
  db: Database,
  policyId: string,
  pairs: PreferencePair[],
): Promise<Map<string, number>> {
  const samplers = pairs.flatMap(({ sampled }) =>
    sampled ? [sampled.chosen.policyId, sampled.rejected.policyId] : [],
  );
  const oldest = samplers.reduce((a, b) => (a < b ? a : b), policyId);
  const ancestors = new Map<string, number>();
  for await (const { id } of walkLineage(db, policyId)) {
    // Ids sort by time: the rest of the lineage is older than every sample.
    if (id < oldest) break;
    ancestors.set(id, ancestors.size);
  }
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
