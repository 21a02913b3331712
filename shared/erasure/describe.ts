// An erasure as the API and the command line report it: what went, and where it lives on in what policies learned.
import type { Database } from '../database/connect.ts';
import { getActivePolicyId } from '../store/registry.ts';
import type { ErasureRow } from './erase.ts';
import { listErasedLearners, listLineage } from './learners.ts';

/** `ancestor`: of the active policy, which therefore learned from it too. */
export const RELATIONS = ['active', 'ancestor', 'other'] as const;

export type Learner = { id: string; relation: (typeof RELATIONS)[number] };

export type DescribedErasure = ErasureRow & {
  policies: Learner[];
  activePolicyLearned: boolean;
  /** null if there is nothing left to do */
  advice: string | null;
};

export async function describeErasure(db: Database, rows: ErasureRow[]): Promise<DescribedErasure[]> {
  if (rows.length === 0) return [];
  const active = await getActivePolicyId(db);
  const learners = await listErasedLearners(
    db,
    rows.map(({ id }) => id),
  );
  const lineage = learners.size > 0 ? await listLineage(db, active) : new Set<string>();
  return rows.map((row) => {
    const policies = (learners.get(row.id) ?? []).map((id): Learner => {
      return { id, relation: id === active ? 'active' : lineage.has(id) ? 'ancestor' : 'other' };
    });
    const activePolicyLearned = policies.some(({ relation }) => relation !== 'other');
    const advice = activePolicyLearned
      ? `${active} is active and has learned from what was erased; \`attune train --without-erased\` trains its replacement`
      : null;
    return { ...row, policies, activePolicyLearned, advice };
  });
}
