// The operations whose time must not depend on how many preferences are stored, each as often as a second or two allows.

import { eq, isNull } from 'drizzle-orm';
import { comparisons, preferences } from '../../shared/database/schema.ts';
import { findObstacle } from '../../shared/rounds/schedule.ts';
import { activatePolicy, getPolicy } from '../../shared/store/registry.ts';
import { findPairs } from '../../trainer/data/round-pairs.ts';
import { previewRound } from '../../trainer/stages/dry-run.ts';
import type { DataSystem } from './data-system.ts';

export type Operation = { name: string; run(): Promise<unknown> };
/** Milliseconds of one operation, in each of the databases. Of the export: of one row. */
export type Timing = { name: string; medians: number[] };

const MAX_RUNS = 100;
const MIN_RUNS = 3;
const BUDGET_MS = 5000;
/** The most votes that a measurement takes, with its warm-up. */
export const VOTES = MAX_RUNS + 1;
const PAGE = 100;

const LISTS: [path: string, limit: number][] = [
  ['/v1/preferences', 20],
  ['/v1/comparisons', 20],
  ['/v1/chat/completions', 20],
  // A hundred of them exist in the smallest database.
  ['/v1/rounds', 1],
  ['/v1/policies', 1],
];

export async function measureOperations(systems: DataSystem[], log: (line: string) => void): Promise<Timing[]> {
  const prepared = await Promise.all(systems.map(prepareOperations));
  const timings: Timing[] = [];
  const add = (name: string, medians: number[]) => {
    timings.push({ name, medians });
    log(`${name}: ${medians.map((ms) => ms.toFixed(EXPORT === name ? 4 : 2)).join(' and ')} ms`);
  };
  for (const [at, { name }] of prepared[0]!.entries())
    add(name, await findMedians(prepared.map((operations) => operations[at]!.run)));
  const exports: number[] = [];
  for (const system of systems) exports.push(await measureExport(system));
  add(EXPORT, exports);
  return timings;
}

async function prepareOperations(system: DataSystem): Promise<Operation[]> {
  const { connection, settings, store, policyId } = system;
  const { db } = connection;
  const get = async (path: string) =>
    (await (await send(system, path)).json()) as { last_id: string; has_more: boolean };
  const { parent_id: parentId } = await getPolicy(db, policyId);
  const pages: Operation[] = [];
  for (const [path, limit] of LISTS)
    for (const order of ['desc', 'asc']) {
      const first = `${path}?order=${order}&limit=${limit}`;
      let cursor = await get(first);
      for (let page = 2; page < PAGE; page++) cursor = await get(`${first}&after=${cursor.last_id}`);
      if (!cursor.has_more) throw new Error(`internal: ${path} has no page ${PAGE}`);
      pages.push(
        { name: `GET ${path}, ${order}, page 1`, run: () => get(first) },
        { name: `GET ${path}, ${order}, page ${PAGE}`, run: () => get(`${first}&after=${cursor.last_id}`) },
      );
    }
  const unvoted = await db
    .select({ id: comparisons.id })
    .from(comparisons)
    .leftJoin(preferences, eq(preferences.comparison_id, comparisons.id))
    .where(isNull(preferences.id))
    .limit(VOTES);
  const vote = async () => {
    const body = JSON.stringify({ comparison: unvoted.pop()!.id, choice: 'a', rater: 'bench' });
    await (await send(system, '/v1/preferences', { method: 'POST', body })).text();
  };
  // In one transaction, so that no edge tries to load the parent, which has no package.
  const rollBackAndPromote = () =>
    db.transaction(async (transaction) => {
      await activatePolicy(transaction, parentId!, 'bench');
      await activatePolicy(transaction, policyId, 'bench');
    });
  return [
    { name: 'due check', run: () => findObstacle(db, settings) },
    { name: 'selection of 4,096 pairs', run: () => findPairs(db, settings, { effort: 1, seed: 0 }) },
    { name: 'dry run', run: () => previewRound({ settings, store }, db) },
    { name: 'rollback and promotion', run: rollBackAndPromote },
    ...pages,
    { name: 'GET /v1/preferences/stats', run: () => get('/v1/preferences/stats') },
    { name: 'POST /v1/preferences, a vote', run: vote },
  ];
}

export const EXPORT = 'GET /v1/preferences/export, a row';

async function measureExport(system: DataSystem): Promise<number> {
  const startMs = performance.now();
  let rows = 0;
  for await (const chunk of (await send(system, '/v1/preferences/export')).body!)
    for (const byte of chunk) if (byte === 10) rows++;
  return (performance.now() - startMs) / rows;
}

async function send({ url }: DataSystem, path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(url + path, { headers: { 'content-type': 'application/json' }, ...init });
  if (!response.ok) throw new Error(`internal: ${path} answered ${response.status}: ${await response.text()}`);
  return response;
}

/** The databases take turns, so that what else the machine does meanwhile slows both. */
async function findMedians(runs: (() => Promise<unknown>)[]): Promise<number[]> {
  // The first run compiles statements and fills caches.
  for (const run of runs) await run();
  const times: number[][] = runs.map(() => []);
  const endMs = performance.now() + BUDGET_MS * runs.length;
  for (let done = 0; done < MAX_RUNS && (done < MIN_RUNS || performance.now() < endMs); done++)
    for (const [at, run] of runs.entries()) {
      const startMs = performance.now();
      await run();
      times[at]!.push(performance.now() - startMs);
    }
  return times.map((values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!);
}
