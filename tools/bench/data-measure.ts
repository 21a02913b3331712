// The operations whose time must not depend on how many preferences are stored, each as often as a second or two allows.

import { eq, isNull } from 'drizzle-orm';
import { comparisons, preferences } from '../../shared/database/schema.ts';
import { findObstacle } from '../../shared/rounds/schedule.ts';
import { activatePolicy, getPolicy } from '../../shared/store/registry.ts';
import { findPairs } from '../../trainer/data/pairs.ts';
import { previewRound } from '../../trainer/stages/dry-run.ts';
import type { DataSystem } from './data-system.ts';

/** Milliseconds of one operation. Of the export: of one row. */
export type Timings = Record<string, number>;

const MAX_RUNS = 60;
const MIN_RUNS = 3;
const BUDGET_MS = 3000;
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

export async function measureOperations(system: DataSystem, log: (line: string) => void): Promise<Timings> {
  const { connection, settings, store, policyId } = system;
  const { db } = connection;
  const timings: Timings = {};
  const measure = async (name: string, run: () => Promise<unknown>) => {
    timings[name] = await findMedianMs(run);
    log(`${name}: ${timings[name].toFixed(2)} ms`);
  };
  const get = async (path: string) =>
    (await (await send(system, path)).json()) as { last_id: string; has_more: boolean };

  await measure('due check', () => findObstacle(db, settings));
  await measure('selection of 4,096 pairs', () => findPairs(db, settings, 1));
  await measure('dry run', () => previewRound({ settings, store }, db));
  const { parent_id: parentId } = await getPolicy(db, policyId);
  // In one transaction, so that no edge tries to load the parent, which has no package.
  await measure('rollback and promotion', () =>
    db.transaction(async (transaction) => {
      await activatePolicy(transaction, parentId!, 'bench');
      await activatePolicy(transaction, policyId, 'bench');
    }),
  );
  for (const [path, limit] of LISTS)
    for (const order of ['desc', 'asc']) {
      const first = `${path}?order=${order}&limit=${limit}`;
      let cursor = await get(first);
      for (let page = 2; page < PAGE; page++) cursor = await get(`${first}&after=${cursor.last_id}`);
      if (!cursor.has_more) throw new Error(`internal: ${path} has no page ${PAGE}`);
      await measure(`GET ${path}, ${order}, page 1`, () => get(first));
      await measure(`GET ${path}, ${order}, page ${PAGE}`, () => get(`${first}&after=${cursor.last_id}`));
    }
  await measure('GET /v1/preferences/stats', () => get('/v1/preferences/stats'));
  const unvoted = await db
    .select({ id: comparisons.id })
    .from(comparisons)
    .leftJoin(preferences, eq(preferences.comparison_id, comparisons.id))
    .where(isNull(preferences.id))
    .limit(VOTES);
  await measure('POST /v1/preferences, a vote', async () => {
    const body = JSON.stringify({ comparison: unvoted.pop()!.id, choice: 'a', rater: 'bench' });
    await (await send(system, '/v1/preferences', { method: 'POST', body })).text();
  });
  timings[EXPORT] = await measureExport(system);
  log(`${EXPORT}: ${(1000 / timings[EXPORT]).toFixed(0)} rows per second`);
  return timings;
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

async function findMedianMs(run: () => Promise<unknown>): Promise<number> {
  // The first one compiles statements and fills caches.
  await run();
  const times: number[] = [];
  const endMs = performance.now() + BUDGET_MS;
  while (times.length < MAX_RUNS && (times.length < MIN_RUNS || performance.now() < endMs)) {
    const startMs = performance.now();
    await run();
    times.push(performance.now() - startMs);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
}
