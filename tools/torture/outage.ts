// A system under a small load of every kind, in which something is out of order for a while: what was acknowledged is
// stored, what was said not to be stored is not, and afterwards everything is acknowledged again.

import { setTimeout as sleep } from 'node:timers/promises';
import { mulberry32 } from '../../shared/random.ts';
import { checkStored, describeWrongs } from './check-stored.ts';
import { createComparisons, Load } from './load.ts';
import { RECOVERY_LIMIT_MS, type Report } from './report.ts';
import { openSystem, type System, type SystemOptions } from './system.ts';

const CONCURRENCY = 8;
const CALM_MS = 1500;

/** `interrupt` brings the outage about and ends it. */
export async function withLoad(
  report: Report,
  what: string,
  options: SystemOptions,
  interrupt: (system: System) => Promise<void>,
): Promise<void> {
  const system = await openSystem(options);
  try {
    const load = new Load(system.url, await createComparisons(system.url), CONCURRENCY, mulberry32(1));
    await sleep(CALM_MS);
    load.sendEverything(what);
    await interrupt(system);
    const recoveryMs = await load.measureRecovery(performance.now(), 1000, 2 * RECOVERY_LIMIT_MS);
    await load.stop();
    const verdict = (await checkStored(system.connection.sql, load.sent)).get(what)!;
    report.add({ what, times: 1, ...verdict, longestRecoveryMs: recoveryMs, note: describeRefusals(load) });
    const wrongs = describeWrongs(verdict);
    if (wrongs) report.fail(`${what}: ${wrongs}`);
    if (recoveryMs === null || recoveryMs > RECOVERY_LIMIT_MS)
      report.fail(`${what}: not recovered within ${RECOVERY_LIMIT_MS / 1000} s`);
  } finally {
    await system.close();
  }
}

/** How often each error was answered. */
function describeRefusals({ refusals }: Load): string {
  return [...refusals].map(([code, count]) => `${count} × ${code}`).join(', ');
}
