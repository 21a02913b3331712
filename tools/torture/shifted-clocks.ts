// Part e: two more APIs on the same Postgres, whose clocks are ten minutes fast and slow. Keys work across all three, and a
// client that follows the list of preferences while they are stored sees every one.

import path from 'node:path';
import { findFreePort } from '../../shared/free-port.ts';
import { mulberry32 } from '../../shared/random.ts';
import { compilePreload } from '../../testing/preload.ts';
import { checkStored, describeWrongs } from './check-stored.ts';
import { createComparisons, Load } from './load.ts';
import type { Report } from './report.ts';
import { buildRequest, send } from './requests.ts';
import { openSystem, waitUntilHealthy } from './system.ts';

const SHIFTS_SECONDS = [600, -600];
const LOAD_MS = 4000;
const REPEATED_KEYS = 20;

export async function runShiftedClocks(report: Report): Promise<void> {
  const what = 'clocks are ten minutes fast and slow';
  const preload = await compilePreload(path.join(import.meta.dirname, 'shifted-clock.c'));
  if (typeof preload === 'string') return report.skip(`shifted clocks: ${preload}`);
  const system = await openSystem();
  try {
    const urls = [system.url];
    for (const seconds of SHIFTS_SECONDS) {
      const port = String(await findFreePort());
      const env = { ...preload.environment, CLOCK_SHIFT_SECONDS: String(seconds), PORT: port };
      system.supervise(`api ${seconds}`, ['serve'], () => env);
      urls.push(`http://127.0.0.1:${port}`);
    }
    for (const url of urls) await waitUntilHealthy(url, 60_000);
    const comparisons = await createComparisons(system.url);
    const loads = urls.map((url, at) => new Load(url, comparisons, 4, mulberry32(at)));
    for (const load of loads) load.sendEverything(what);
    const reader = followPreferences(system.url, performance.now() + LOAD_MS);
    await reader.untilOver;
    await Promise.all(loads.map((load) => load.stop()));
    const seen = await reader.finish();

    const sent = loads.flatMap((load) => load.sent);
    const verdict = (await checkStored(system.connection.sql, sent)).get(what)!;
    const stored = await system.connection.sql`select id from preferences`;
    const missed = stored.filter(({ id }) => !seen.has(id)).length;
    const twice = await countRepeatedTwice(urls);
    report.add({
      what,
      times: SHIFTS_SECONDS.length,
      ...verdict,
      note: `${seen.size} preferences listed, ${missed} missed`,
    });
    const wrongs = describeWrongs(verdict);
    if (wrongs) report.fail(`${what}: ${wrongs}`);
    if (missed > 0)
      report.fail(`${what}: a client that follows the list missed ${missed} of ${stored.length} preferences`);
    if (twice > 0) report.fail(`${what}: ${twice} of ${REPEATED_KEYS} keys took effect more than once`);
  } finally {
    await system.close();
    await preload.remove();
  }
}

/** Reads the list in ascending order again and again, each time from where it was. */
function followPreferences(url: string, endMs: number) {
  const seen = new Set<string>();
  let after = '';
  const readOn = async () => {
    while (true) {
      const response = await fetch(`${url}/v1/preferences?order=asc&limit=100${after}`);
      const { data, last_id, has_more } = (await response.json()) as {
        data: { id: string }[];
        last_id: string | null;
        has_more: boolean;
      };
      for (const { id } of data) seen.add(id);
      if (last_id) after = `&after=${last_id}`;
      if (!has_more) return;
    }
  };
  const untilOver = (async () => {
    while (performance.now() < endMs) await readOn();
  })();
  return {
    untilOver,
    async finish() {
      await readOn();
      return seen;
    },
  };
}

/** Sends each keyed request to every API; all must give the same id. */
async function countRepeatedTwice(urls: string[]): Promise<number> {
  let twice = 0;
  for (let count = 0; count < REPEATED_KEYS; count++) {
    const request = buildRequest('raw', true, '', mulberry32(count));
    const ids = new Set<string>();
    for (const url of urls) {
      const answer = await send(url, request);
      ids.add(answer.outcome === 'acknowledged' ? answer.id : answer.message);
    }
    if (ids.size > 1) twice++;
  }
  return twice;
}
