// What must be true of rounds, policies, packages, activations and pairs, whatever happened to the trainers.

import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { readManifest, verifyFiles } from '../../shared/package/files.ts';
import type { System } from './system.ts';

/** What is wrong, in words. */
export async function checkRounds(system: System): Promise<string[]> {
  const { sql } = system.connection;
  const unended = await sql`select id, status, stage from rounds where status in ('queued', 'running')`;
  const doubles = await sql`
    select round_id, count(*)::int from policies where round_id is not null group by round_id having count(*) > 1`;
  const overruled = await sql`
    select * from (
      select a.id, a.policy_id, r.baseline_id, lag(a.policy_id) over (order by a.id) as previous, p.round_id
      from activations a join policies p on p.id = a.policy_id left join rounds r on r.id = p.round_id
        and a.reason like 'published%'
    ) as activation where baseline_id is not null and baseline_id <> previous`;
  return [
    ...unended.map(({ id, status, stage }) => `${id} never ended: it is ${status}, ${stage}`),
    ...doubles.map(({ round_id, count }) => `${round_id} published ${count} policies`),
    ...overruled.map(
      ({ round_id, previous, baseline_id }) =>
        `${round_id} replaced ${previous}, which an operator had activated; it was compared with ${baseline_id}`,
    ),
    ...(await checkPackages(system)),
    ...(await checkNewPairs(system)),
  ];
}

/** Every row has a complete package with its manifest, and no folder is half a package. */
async function checkPackages({ connection: { sql }, localStore, home }: System): Promise<string[]> {
  const wrong: string[] = [];
  const rows = await sql`select id, manifest from policies`;
  for (const { id, manifest } of rows) {
    try {
      const stored = await readManifest(await localStore.getFolder(id));
      if (!isDeepStrictEqual(JSON.parse(JSON.stringify(stored)), manifest))
        wrong.push(`${id}: its policy.json differs from its row`);
    } catch (error) {
      wrong.push(`${id} has a row and no valid package: ${(error as Error).message}`);
    }
  }
  const listed = new Set(rows.map(({ id }) => id));
  // A trainer that is stopped between publishing and the policy's row leaves a whole package that nothing refers to.
  for (const name of await readdir(path.join(home, 'policies'))) {
    if (!/^(pol|rwd)_/.test(name) || listed.has(name)) continue;
    const folder = path.join(home, 'policies', name);
    await readManifest(folder)
      .then((manifest) => verifyFiles(folder, manifest))
      .catch((error: Error) => wrong.push(`${name} is half a package: ${error.message}`));
  }
  return wrong;
}

/** A pair is learned only by a round whose policy is active or an ancestor of the active one; all others are new. */
async function checkNewPairs({ connection: { sql } }: System): Promise<string[]> {
  const [row] = await sql`
    with recursive lineage(id, parent_id, round_id) as (
      select id, parent_id, round_id from policies
        where id = (select policy_id from activations order by id desc limit 1)
      union all select p.id, p.parent_id, p.round_id from policies p join lineage on p.id = lineage.parent_id
    ), expected as (
      select id from preferences where choice in ('a', 'b')
      except select preference_id from round_pairs join lineage on lineage.round_id = round_pairs.round_id
    )
    select (select count(*)::int from (select id from expected except select preference_id from new_pairs) as a) as missing,
      (select count(*)::int from (select preference_id from new_pairs except select id from expected) as b) as extra`;
  const { missing, extra } = row!;
  return [
    ...(missing > 0 ? [`${missing} pairs that no active policy learned are not new`] : []),
    ...(extra > 0 ? [`${extra} pairs that the active policy learned are still new`] : []),
  ];
}
