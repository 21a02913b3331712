// The lineage of a policy: itself, its parent, and so on back to an imported policy. Read in chunks as far as it is needed,
// because every round adds a policy.

import { sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { policies } from '../database/schema.ts';

/** `round_id`: the round that trained the policy; null if it was imported. */
export type Ancestor = { id: string; round_id: string | null };

const CHUNK = 100;

/** `chunk`: policies to a query; a large one if the whole lineage is read. */
export async function* walkLineage(db: Database, policyId: string | null, chunk = CHUNK): AsyncGenerator<Ancestor> {
  let next = policyId;
  while (next !== null) {
    const rows: (Ancestor & { parent_id: string | null })[] = await db.execute(sql`
      with recursive lineage as (
        select id, parent_id, round_id, 1 as depth from ${policies} where id = ${next}
        union all
        select parent.id, parent.parent_id, parent.round_id, depth + 1
        from lineage join ${policies} as parent on parent.id = lineage.parent_id
        where depth < ${chunk}
      )
      select id, parent_id, round_id from lineage order by depth`);
    yield* rows;
    next = rows.at(-1)?.parent_id ?? null;
  }
}

/** The rounds that only one of two lineages has, up to the first policy that they share. */
export async function compareLineages(
  db: Database,
  from: string | null,
  to: string,
): Promise<{ onlyFrom: string[]; onlyTo: string[] }> {
  const passed = { from: new Map<string, string | null>(), to: new Map<string, string | null>() };
  const lineages = { from: walkLineage(db, from), to: walkLineage(db, to) };
  const step = async (side: 'from' | 'to'): Promise<Ancestor | undefined> =>
    (await lineages[side].next()).value ?? undefined;
  let [a, b] = [await step('from'), await step('to')];
  // In lockstep: ids sort by time, so the later of the two is no ancestor of the other.
  while (a?.id !== b?.id) {
    if (a && (!b || a.id > b.id)) {
      passed.from.set(a.id, a.round_id);
      a = await step('from');
    } else {
      passed.to.set(b!.id, b!.round_id);
      b = await step('to');
    }
  }
  // Where the clocks of two machines differ, a child may have the smaller id: the walk goes on and passes both.
  const only = (side: 'from' | 'to', other: 'from' | 'to') =>
    [...passed[side]].flatMap(([id, round]) => (round === null || passed[other].has(id) ? [] : [round]));
  return { onlyFrom: only('from', 'to'), onlyTo: only('to', 'from') };
}
