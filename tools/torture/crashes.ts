// Part a: 32 clients write while connections to Postgres are cut, reset, stalled and delayed at eight points of a request,
// and while processes are killed. Afterwards every answer is compared with what Postgres has.

import { setTimeout as sleep } from 'node:timers/promises';
import { mulberry32, shuffle } from '../../shared/random.ts';
import { checkStored, type Verdict } from './check-stored.ts';
import { Load } from './load.ts';
import { FAULT_KINDS, KILL_POINTS, type KillPoint } from './postgres-proxy.ts';
import type { Report } from './report.ts';
import { buildRequest, KINDS, type Kind, send } from './requests.ts';
import { openSystem, type System } from './system.ts';

const CONCURRENCY = 32;
/** How long a request may take to come to an armed point. */
const ARM_TIMEOUT_MS = 5000;
const QUIET_MS = 1000;
export const RECOVERY_LIMIT_MS = 15_000;
/** After this a fault counts as never recovered, and the API is killed so that the rest can be run. */
const RECOVERY_TIMEOUT_MS = 40_000;
const PARTITION_MS = 5000;

export type CrashPlan = { seed: number; seeds: number; isQuick: boolean };

type Outcome = { times: number; unreached: number; recoveriesMs: (number | null)[] };

export async function runCrashes(report: Report, plan: CrashPlan): Promise<void> {
  const system = await openSystem();
  const outcomes = new Map<string, Outcome>();
  try {
    const comparisons = await createComparisons(system);
    const load = new Load(system.url, comparisons, CONCURRENCY, mulberry32(plan.seed));
    const run = (what: string, inject: () => Promise<boolean>) =>
      runFault(report, system, load, outcomes, what, inject);
    for (let seed = plan.seed; seed < plan.seed + plan.seeds; seed++) {
      report.log(`crashes: seed ${seed}`);
      await injectAtPoints(system, load, seed, plan.isQuick, run);
      load.sendEverything('');
      for (const [what, inject] of processFaults(system)) await run(what, () => inject().then(() => true));
    }
    load.mix = { ...load.mix, during: 'no fault' };
    await load.stop();
    addRows(report, outcomes, await checkStored(system.connection.sql, load.sent), system.api.endedItself);
  } finally {
    await system.close();
  }
}

async function createComparisons(system: System): Promise<string[]> {
  const ids: string[] = [];
  for (let count = 0; count < 8; count++) {
    const answer = await send(system.url, buildRequest('comparison', false, '', Math.random));
    if (answer.outcome !== 'acknowledged') throw new Error(`a comparison was refused: ${answer.message}`);
    ids.push(answer.id);
  }
  return ids;
}

type RunFault = (what: string, inject: () => Promise<boolean>) => Promise<void>;

/** Full: every point × kind of request × with and without key. Quick: every point once, under all kinds at once. */
async function injectAtPoints(
  system: System,
  load: Load,
  seed: number,
  isQuick: boolean,
  run: RunFault,
): Promise<void> {
  const random = mulberry32(seed);
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)]!;
  type Cell = { point: KillPoint; kinds: readonly Kind[]; keyed: readonly boolean[] };
  const cells = KILL_POINTS.flatMap((point): Cell[] => {
    if (isQuick) return [{ point, kinds: KINDS, keyed: [true, false] }];
    const single = KINDS.flatMap((kind) => [true, false].map((keyed) => ({ point, kinds: [kind], keyed: [keyed] })));
    return point === 'before the key' ? single.filter(({ keyed }) => keyed[0]) : single;
  });
  for (const { point, kinds, keyed } of shuffle(cells, random)) {
    load.mix = { kinds, keyed, during: load.mix.during };
    const fault = { point, kind: pick(FAULT_KINDS), scope: pick(['one', 'all'] as const) };
    await run(point, () => system.proxy.inject(fault, ARM_TIMEOUT_MS));
  }
}

function processFaults(system: System): [string, () => Promise<void>][] {
  const { sql } = system.connection;
  return [
    ['the API is killed', async () => system.api.kill()],
    ['Postgres is killed', () => system.killPostgres()],
    [
      'backends are ended',
      async () => {
        await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'attune edge'`;
      },
    ],
    ['nothing passes for 5 s', () => system.proxy.partition(PARTITION_MS)],
  ];
}

async function runFault(
  report: Report,
  system: System,
  load: Load,
  outcomes: Map<string, Outcome>,
  what: string,
  inject: () => Promise<boolean>,
): Promise<void> {
  const outcome = outcomes.get(what) ?? { times: 0, unreached: 0, recoveriesMs: [] };
  outcomes.set(what, outcome);
  load.mix = { ...load.mix, during: what };
  if (!(await inject())) {
    outcome.unreached++;
    return;
  }
  outcome.times++;
  const recoveryMs = await load.measureRecovery(performance.now(), QUIET_MS, RECOVERY_TIMEOUT_MS);
  outcome.recoveriesMs.push(recoveryMs);
  if (recoveryMs !== null) return;
  report.log(`crashes: not recovered ${RECOVERY_TIMEOUT_MS / 1000} s after ${what}; the API is killed`);
  system.api.kill();
  await load.measureRecovery(performance.now(), QUIET_MS, RECOVERY_TIMEOUT_MS);
  await sleep(QUIET_MS);
}

function addRows(
  report: Report,
  outcomes: Map<string, Outcome>,
  verdicts: Map<string, Verdict>,
  endedItself: number,
): void {
  for (const [what, verdict] of verdicts) {
    const { times = 0, unreached = 0, recoveriesMs = [] } = outcomes.get(what) ?? {};
    const isRecovered = !recoveriesMs.includes(null);
    const longestRecoveryMs = isRecovered ? Math.max(0, ...(recoveriesMs as number[])) : null;
    report.add({ what, times, ...verdict, longestRecoveryMs: times > 0 ? longestRecoveryMs : undefined });
    const { lost, duplicated, changed, wronglyDenied, late, surprising } = verdict;
    const counts = { lost, duplicated, changed, 'wrongly "not stored"': wronglyDenied, late, surprising };
    const wrong = Object.entries(counts).filter(([, count]) => count > 0);
    if (wrong.length > 0)
      report.fail(
        `${what}: ${wrong.map(([name, count]) => `${count} ${name}`).join(', ')}; ${verdict.examples.join('; ')}`,
      );
    if (longestRecoveryMs === null || longestRecoveryMs > RECOVERY_LIMIT_MS)
      report.fail(`${what}: not recovered within ${RECOVERY_LIMIT_MS / 1000} s`);
    if (unreached > 0) report.fail(`${what}: ${unreached} times no request came to this point`);
  }
  if (endedItself > 0) report.log(`crashes: the API ended itself ${endedItself} times`);
}
