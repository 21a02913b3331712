// Part a: 32 clients write while connections to Postgres are cut, reset, stalled and delayed at eight points of a request,
// and while processes are killed. Afterwards every answer is compared with what Postgres has.

import { mulberry32, shuffle } from '../../shared/random.ts';
import { checkStored, describeWrongs, type Verdict } from './check-stored.ts';
import { createComparisons, Load } from './load.ts';
import { FAULT_KINDS, KILL_POINTS } from './postgres-proxy.ts';
import { RECOVERY_LIMIT_MS, type Report } from './report.ts';
import { KINDS, type Kind } from './requests.ts';
import { openSystem, type System } from './system.ts';

const CONCURRENCY = 32;
/** How long a request may take to come to an armed point. */
const ARM_TIMEOUT_MS = 5000;
const QUIET_MS = 1000;
/**
 * The API gives up a connection on which nothing passes after 20 s. Postgres does not know, and ends its transaction after
 * 30 s (idle_in_transaction_session_timeout): until then it holds the keys of its requests, whose repetitions get a 503.
 */
const STALL_LIMIT_MS = 45_000;
/** In the quick run, beside which other tests run: starting the API alone can take 15 s there. */
const QUICK_LIMIT_MS = 45_000;
/** After this a fault counts as never recovered, and the API is killed so that the rest can be run. */
const RECOVERY_TIMEOUT_MS = 60_000;
const PARTITION_MS = 5000;

export type CrashPlan = { seed: number; seeds: number; isQuick: boolean };

type Outcome = { times: number; unreached: number; recoveriesMs: (number | null)[] };

export async function runCrashes(report: Report, plan: CrashPlan): Promise<void> {
  const system = await openSystem();
  try {
    const load = new Load(system.url, await createComparisons(system.url), CONCURRENCY, mulberry32(plan.seed));
    const outcomes = new Map<string, Outcome>();
    const inject = async ({ label, mix, happen }: Fault) => {
      load.mix = { ...mix, during: label };
      const outcome = outcomes.get(label) ?? { times: 0, unreached: 0, recoveriesMs: [] };
      outcomes.set(label, outcome);
      if (await happen()) {
        outcome.times++;
        outcome.recoveriesMs.push(await recover(report, system, load, label));
      } else outcome.unreached++;
    };
    for (let seed = plan.seed; seed < plan.seed + plan.seeds; seed++) {
      report.log(`crashes: seed ${seed}`);
      for (const fault of listPointFaults(system, seed, plan.isQuick)) await inject(fault);
      for (const fault of listProcessFaults(system)) await inject(fault);
    }
    load.mix = { ...load.mix, during: 'no fault' };
    await load.stop();
    const verdicts = await checkStored(system.connection.sql, load.sent);
    for (const [label, verdict] of verdicts) {
      const limitMs = label === STALL ? STALL_LIMIT_MS : plan.isQuick ? QUICK_LIMIT_MS : RECOVERY_LIMIT_MS;
      addRow(report, label, verdict, outcomes.get(label), limitMs);
    }
    if (system.api.endedItself > 0) report.log(`crashes: the API ended itself ${system.api.endedItself} times`);
  } finally {
    await system.close();
  }
}

type Mix = { kinds: readonly Kind[]; keyed: readonly boolean[] };
/** `happen` resolves with false if no request came to its point. */
type Fault = { label: string; mix: Mix; happen(): Promise<boolean> };

const EVERYTHING: Mix = { kinds: KINDS, keyed: [true, false] };
const STALL = 'a connection stalls';

/** Full: every point × kind of request × with and without key. Quick: every point once, under all kinds at once. */
function listPointFaults(system: System, seed: number, isQuick: boolean): Fault[] {
  const random = mulberry32(seed);
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)]!;
  const single = KINDS.flatMap((kind) => [true, false].map((keyed): Mix => ({ kinds: [kind], keyed: [keyed] })));
  const cells = KILL_POINTS.flatMap((point) =>
    (isQuick ? [EVERYTHING] : single)
      .filter(({ keyed }) => point !== 'before the key' || keyed.includes(true))
      .map((mix) => ({ point, mix, kind: pick(isQuick ? FAULT_KINDS.slice(0, 3) : FAULT_KINDS) })),
  );
  if (isQuick) cells.push({ point: 'before COMMIT', mix: EVERYTHING, kind: 'stall' });
  return shuffle(cells, random).map(({ point, mix, kind }) => ({
    label: kind === 'stall' ? STALL : point,
    mix,
    happen: () => system.proxy.inject({ point, kind, scope: pick(['one', 'all'] as const) }, ARM_TIMEOUT_MS),
  }));
}

function listProcessFaults(system: System): Fault[] {
  const always = (label: string, happen: () => unknown) => ({
    label,
    mix: EVERYTHING,
    happen: async () => {
      await happen();
      return true;
    },
  });
  return [
    always('the API is killed', () => system.api.kill()),
    always('Postgres is killed', () => system.killPostgres()),
    {
      label: 'backends are ended',
      mix: EVERYTHING,
      happen: async () => {
        const ended = await system.connection.sql`
          select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'attune edge'`;
        return ended.length > 0;
      },
    },
    always('nothing passes for 5 s', () => system.proxy.partition(PARTITION_MS)),
  ];
}

async function recover(report: Report, system: System, load: Load, label: string): Promise<number | null> {
  const recoveryMs = await load.measureRecovery(performance.now(), QUIET_MS, RECOVERY_TIMEOUT_MS);
  if (recoveryMs !== null) return recoveryMs;
  report.log(`crashes: ${label}: not recovered after ${RECOVERY_TIMEOUT_MS / 1000} s; the API is killed`);
  system.api.kill();
  await load.measureRecovery(performance.now(), QUIET_MS, RECOVERY_TIMEOUT_MS);
  return null;
}

function addRow(report: Report, what: string, verdict: Verdict, outcome: Outcome | undefined, limitMs: number): void {
  const { times = 0, unreached = 0, recoveriesMs = [] } = outcome ?? {};
  const longestRecoveryMs = recoveriesMs.includes(null) ? null : Math.max(...(recoveriesMs as number[]));
  report.add({ what, times, ...verdict, longestRecoveryMs: times > 0 ? longestRecoveryMs : undefined });
  const wrongs = describeWrongs(verdict);
  if (wrongs) report.fail(`${what}: ${wrongs}`);
  if (longestRecoveryMs === null || longestRecoveryMs > limitMs)
    report.fail(`${what}: not recovered within ${limitMs / 1000} s`);
  if (unreached > 0) report.fail(`${what}: ${unreached} times no request came to this point`);
}
