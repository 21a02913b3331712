// Part e: a backup is made while clients write, and restored into an empty folder, from which an API then serves.

import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { openPostgres } from '../../shared/database/embedded.ts';
import { findFreePort } from '../../shared/free-port.ts';
import { mulberry32 } from '../../shared/random.ts';
import { checkStored } from './check-stored.ts';
import { createComparisons, Load } from './load.ts';
import type { Report } from './report.ts';
import { openSystem, waitUntilHealthy } from './system.ts';

const CLI = fileURLToPath(new URL('../../cli.ts', import.meta.url));
const run = promisify(execFile);
const attune = (args: string[], env: Record<string, string>) =>
  run(process.execPath, [CLI, ...args], { env: { ...process.env, ...env }, timeout: 120_000 });

export async function runRestoreDrill(report: Report): Promise<void> {
  const what = 'a backup is restored';
  const system = await openSystem();
  try {
    const load = new Load(system.url, await createComparisons(system.url), 8, mulberry32(1));
    await sleep(2000);
    // Answered before the backup began, so they must be in it.
    const before = load.sent
      .filter(({ outcome }) => outcome === 'acknowledged')
      .map((sent) => ({ ...sent, during: what }));
    const file = path.join(system.home, 'backup');
    await attune(['backup', file], { ATTUNE_HOME: system.home, DATABASE_URL: system.connection.url });
    await load.stop();
    const home = path.join(system.home, 'restored');
    await mkdir(home, { mode: 0o755 });
    const startMs = performance.now();
    await attune(['restore', file], { ATTUNE_HOME: home, DATABASE_URL: '' });
    const restoreMs = performance.now() - startMs;
    const restored = await openPostgres(home);
    const sql = postgres(restored.url, { max: 2, onnotice: () => {} });
    const verdict = (await checkStored(sql, before)).get(what)!;
    const [row] = await sql`select count(*)::int from policies`;
    await sql.end();
    const port = await findFreePort();
    const env = { ATTUNE_HOME: home, DATABASE_URL: restored.url, PORT: String(port) };
    const api = system.supervise('restored api', ['serve'], () => env);
    try {
      await waitUntilHealthy(`http://127.0.0.1:${port}`, 60_000);
      // Generates, and stores: throws if it is refused.
      await createComparisons(`http://127.0.0.1:${port}`);
    } finally {
      await api.stop();
      await restored.leave();
    }
    report.add({ what, times: 1, ...verdict, longestRecoveryMs: restoreMs, note: `${row!.count} policies` });
    for (const example of verdict.examples) report.fail(`${what}: ${example}`);
  } finally {
    await system.close();
  }
}
