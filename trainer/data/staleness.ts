// How far a pair is off policy: the policies that were made between the one that sampled it and the one that a round
// starts from. DIL's negatives should come from the reference; old ones come from somewhere else.
import type { Database } from '../../shared/database/connect.ts';
import { policies } from '../../shared/database/schema.ts';
import type { Candidate } from './pairs.ts';

/** Each forebear of a policy with the number of rounds between them; the policy itself at 0. */
export async function findForebears(db: Database, policyId: string): Promise<Map<string, number>> {
  const rows = await db.select({ id: policies.id, parent: policies.parent_id }).from(policies);
  const parents = new Map(rows.map(({ id, parent }) => [id, parent]));
  const forebears = new Map<string, number>();
  for (let id: string | null = policyId; id && !forebears.has(id); id = parents.get(id) ?? null)
    forebears.set(id, forebears.size);
  return forebears;
}

/**
 * The age of the older side, as far as it is known; null where nobody of this line sampled either (an import, a policy
 * that was rolled back).
 */
export function ageOf({ sampled }: Candidate, forebears: ReadonlyMap<string, number>): number | null {
  const ages = [sampled?.chosen.policyId, sampled?.rejected.policyId].flatMap((id) => forebears.get(id ?? '') ?? []);
  return ages.length === 0 ? null : Math.max(...ages);
}

/** How many pairs have each age, as a round reports it. */
export function countAges(ages: (number | null)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const age of ages) counts[age ?? 'unknown'] = (counts[age ?? 'unknown'] ?? 0) + 1;
  return counts;
}
