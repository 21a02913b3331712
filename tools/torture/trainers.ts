// Part b: two trainers run rounds while they are killed at each stage, their locks are taken away, and an operator promotes
// and rolls back. However it went: one policy a round, never half a package, and every pair is learned or new.

import { setTimeout as sleep } from 'node:timers/promises';
import { mulberry32 } from '../../shared/random.ts';
import { checkRounds } from './check-rounds.ts';
import { checkStored } from './check-stored.ts';
import { Load } from './load.ts';
import type { Report } from './report.ts';
import { installRoundAudit, type RoundAudit } from './round-audit.ts';
import type { Supervisor } from './supervisor.ts';
import { openSystem, type System } from './system.ts';

const STAGES = ['selecting', 'scoring', 'training', 'evaluating', 'publishing', 'activating'] as const;
type Stage = (typeof STAGES)[number];

const TRAINER_ENV = {
  LEARNING_RATE: '0.003',
  BATCH_PAIRS: '8',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  TRAIN_MIN_PAIRS: '10000',
  TRAIN_HELD_OUT: '0.5',
  // Dozens of rounds on one reference drift far from it, and a round that the gate refuses never reaches publishing.
  GATE_KL: '100000',
  GATE_REPETITION: '1',
  GATE_LENGTH: '1000',
  GATE_CHOSEN_DROP: '1000',
};
const PAIRS_A_ROUND = 40;
const STAGE_TIMEOUT_MS = 60_000;
const ROUND_TIMEOUT_MS = 120_000;
/** The longest time after entering a stage at which the fault comes. */
const MAX_DELAY_MS = 150;

type Situation = {
  system: System;
  audit: RoundAudit;
  /** Each with the role of its current start. */
  trainers: { supervisor: Supervisor; role(): string }[];
  operator: Operator;
};
type Fault = (situation: Situation) => Promise<void>;

const FAULTS: Record<string, Fault> = {
  async 'the trainer is killed'({ audit, trainers }) {
    const writer = await audit.lastWriter();
    for (const { supervisor, role } of trainers) if (role() === writer) supervisor.kill();
  },
  async 'both trainers are killed'({ trainers }) {
    for (const { supervisor } of trainers) supervisor.kill();
  },
  async 'the lock is taken away'({ system }) {
    await system.connection.sql`
      select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'attune lock'`;
  },
  async 'every connection of the trainers is ended'({ system }) {
    await system.connection.sql`select pg_terminate_backend(pid) from pg_stat_activity where usename like 'trainer_%'`;
  },
  'an operator promotes': ({ operator }) => operator.promote(),
  'an operator rolls back': ({ operator }) => operator.rollBack(),
};

export async function runTrainers(
  report: Report,
  { seed, isQuick }: { seed: number; isQuick: boolean },
): Promise<void> {
  const system = await openSystem();
  try {
    const random = mulberry32(seed);
    const audit = await installRoundAudit(system.connection.sql, system.connection.url);
    const trainers = ['trainer-1', 'trainer-2'].map((name) => {
      let url = '';
      const env = () => {
        url = audit.nextUrl();
        return { ...TRAINER_ENV, DATABASE_URL: url };
      };
      return { supervisor: system.supervise(name, ['train', '--schedule'], env), role: () => new URL(url).username };
    });
    const operator = new Operator(system, [await system.importTiny(2), await system.importTiny(3)]);
    const situation = { system, audit, trainers, operator };
    const during = 'preferences while trainers are killed';
    const load = new Load(system.url, [], 2, random, { kinds: ['raw'], keyed: [true, false], during, pauseMs: 500 });

    const names = Object.keys(FAULTS);
    const ended = new Map<string, { rounds: number; ended: number; policies: number; longestMs: number }>();
    for (const [at, stage] of STAGES.entries()) {
      for (const name of isQuick ? [names[at % names.length]!] : names) {
        const count = ended.get(name) ?? { rounds: 0, ended: 0, policies: 0, longestMs: 0 };
        ended.set(name, count);
        const { policy, endMs } = await runRound(report, situation, stage, FAULTS[name]!, random() * MAX_DELAY_MS);
        report.log(`trainers: ${name} while ${stage}: ${endMs === null ? 'never ended' : (policy ?? 'no policy')}`);
        count.rounds++;
        if (endMs === null)
          report.fail(`trainers: ${name} while ${stage}: not ended after ${ROUND_TIMEOUT_MS / 1000} s`);
        else count.ended++;
        if (policy) count.policies++;
        count.longestMs = Math.max(count.longestMs, endMs ?? ROUND_TIMEOUT_MS);
      }
    }
    await load.stop();
    for (const [what, { rounds, ended: count, policies, longestMs }] of ended)
      report.add({
        what: `a round: ${what}`,
        times: rounds,
        tried: rounds,
        acknowledged: count,
        lost: rounds - count,
        longestRecoveryMs: longestMs,
        note: `${policies} policies`,
      });
    for (const [what, verdict] of await checkStored(system.connection.sql, load.sent)) {
      report.add({ what, times: 1, ...verdict });
      for (const example of verdict.examples) report.fail(`${what}: ${example}`);
    }
    if (![...ended.values()].some(({ policies }) => policies > 0)) report.fail('trainers: no round published a policy');
    for (const failure of [
      ...(await checkRounds(system)),
      ...(await audit.findIntrusions()),
      ...(await operator.findLost()),
    ])
      report.fail(`trainers: ${failure}`);
  } finally {
    await system.close();
  }
}

/** One round with one fault, and its policy and how long after the fault it ended; null if it did not. */
async function runRound(
  report: Report,
  situation: Situation,
  stage: Stage,
  inject: Fault,
  delayMs: number,
): Promise<{ policy: string | null; endMs: number | null }> {
  const { system, audit } = situation;
  const { sql } = system.connection;
  await addPairs(system);
  const { id } = (await post(system, '/v1/rounds'))!;
  const isReached = await audit.waitForStage(id, stage, STAGE_TIMEOUT_MS);
  if (!isReached) {
    const [round] = await sql`select stage, reason from rounds where id = ${id}`;
    report.fail(`trainers: ${id} did not come to ${stage}; it is ${round!.stage}: ${round!.reason}`);
  }
  await sleep(delayMs);
  const startMs = performance.now();
  await inject(situation);
  while (performance.now() - startMs < ROUND_TIMEOUT_MS) {
    const [round] = await sql`select policy_id, finished_at from rounds where id = ${id}`;
    if (round?.finished_at) return { policy: round.policy_id, endMs: performance.now() - startMs };
    await sleep(50);
  }
  return { policy: null, endMs: null };
}

/** Pairs that any policy can learn, on prompts of their own. */
async function addPairs(system: System): Promise<void> {
  const prompts = Array.from({ length: PAIRS_A_ROUND }, () => `pair ${crypto.randomUUID().slice(0, 8)}:`);
  const rows = prompts.map((prompt) => JSON.stringify({ prompt, chosen: ' yes yes', rejected: ' no no' }));
  const response = await fetch(`${system.url}/v1/preferences/import`, {
    method: 'POST',
    headers: { 'content-type': 'application/jsonl' },
    body: rows.join('\n'),
  });
  if (!response.ok) throw new Error(`the import was refused: ${await response.text()}`);
}

/** Null if the API says that the change conflicts with another one. */
async function post(system: System, target: string): Promise<{ id: string } | null> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(system.url + target, { method: 'POST', headers, body: '{}' });
  const text = await response.text();
  if (response.status === 409) return null;
  if (!response.ok) throw new Error(`${target} was refused: ${text}`);
  return JSON.parse(text);
}

/** Promotes and rolls back through the API, and remembers what was acknowledged. */
class Operator {
  private readonly acknowledged: string[] = [];
  private readonly system: System;
  private readonly policies: string[];

  constructor(system: System, policies: string[]) {
    this.system = system;
    this.policies = policies;
  }

  async promote(): Promise<void> {
    const id = this.policies[this.acknowledged.length % this.policies.length]!;
    await this.change(`/v1/policies/${id}/promote`);
  }

  rollBack(): Promise<void> {
    return this.change('/v1/policies/rollback');
  }

  private async change(target: string): Promise<void> {
    const active = await post(this.system, target);
    if (active) this.acknowledged.push(active.id);
  }

  /** Acknowledged changes without a row in the log of activations. */
  async findLost(): Promise<string[]> {
    const rows = await this.system.connection.sql`
      select policy_id from activations where reason like 'promoted%' or reason like 'rollback%' order by id`;
    const logged = rows.map(({ policy_id }) => policy_id);
    return logged.join() === this.acknowledged.join()
      ? []
      : [`an operator's changes were acknowledged as ${this.acknowledged} and logged as ${logged}`];
  }
}
