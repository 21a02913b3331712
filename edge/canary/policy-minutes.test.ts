import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { connect } from '../../shared/database/connect.ts';
import { policy_minutes } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { StatementError } from '../../shared/statement-error.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { openTcpProxy } from '../../testing/tcp-proxy.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import type { GenerationRecord, RequestRecord } from '../http/request-record.ts';
import { flushPolicyMinutes, PolicyMinutes } from './policy-minutes.ts';

const { db, url } = await openTestDatabase();

type Observed = Pick<RequestRecord, 'failure' | 'attempts' | 'generations'>;

const attempt = (policyId: string, hasFailed = false) => ({ policyId, hasFailed });
const fail = (status: number) => ({ code: null, status, thrown: null });

function generation(changes: Partial<GenerationRecord> = {}): GenerationRecord {
  return {
    operation: 'chat',
    model: 'attune',
    policyId: 'pol_a',
    completionId: 'chatcmpl-1',
    choiceIds: ['chatcmpl-1', 'chatcmpl-2'],
    sampling: { temperature: 1, topP: 1, maxTokens: 8, seed: 1 },
    promptTokens: 5,
    completionTokens: 11,
    finishReasons: ['stop', 'length'],
    responses: [
      { tokens: 3, repetition: 0, isEmpty: true },
      { tokens: 8, repetition: 0.5, isEmpty: false },
    ],
    startedAt: 1000,
    firstTokenAt: 1500,
    endedAt: 3000,
    ...changes,
  };
}

/** The sums of each policy, without zeros. */
function observe(...requests: Partial<Observed>[]) {
  const minutes = new PolicyMinutes();
  for (const request of requests)
    minutes.observe({ failure: null, attempts: [], generations: [], ...request } as Observed as RequestRecord);
  return Object.fromEntries(
    minutes.drain().map(({ policy_id, minute: _, ...sums }) => {
      return [policy_id, Object.fromEntries(Object.entries(sums).filter(([, value]) => value !== 0))];
    }),
  );
}

test('a completion counts with its tokens and times, and each response with its length, repetition and end', () => {
  const { pol_a: sums } = observe({ attempts: [attempt('pol_a')], generations: [generation()] });
  const [short, long] = [Math.log(4), Math.log(9)];
  assert.deepEqual(sums, {
    requests: 1,
    prompt_tokens: 5,
    completion_tokens: 11,
    seconds: 2,
    first_tokens: 1,
    first_token_log: Math.log(0.5),
    first_token_log_squares: Math.log(0.5) ** 2,
    responses: 2,
    length_stops: 1,
    empty: 1,
    length_log: short + long,
    length_log_squares: short ** 2 + long ** 2,
    repetition: 0.5,
    repetition_squares: 0.25,
  });
});

test('who names a policy adds to its traffic, and to nothing that it is judged by', () => {
  const { pol_a: sums } = observe({ attempts: [attempt('pol_a')], generations: [generation({ model: 'pol_a' })] });
  assert.deepEqual(sums, { requests: 1, prompt_tokens: 5, completion_tokens: 11, seconds: 2 });
});

test('a comparison, of which both policies have equally many, adds to their traffic only', () => {
  const { pol_a: sums } = observe({ attempts: [attempt('pol_a')], generations: [generation({ isCompared: true })] });
  assert.deepEqual(sums, { requests: 1, prompt_tokens: 5, completion_tokens: 11, seconds: 2 });
});

test('failures by the server’s fault are errors of the policy that was to compute it; a refusal is no completion', () => {
  assert.deepEqual(observe({ attempts: [attempt('pol_a')], failure: fail(503) }), {
    pol_a: { requests: 1, errors: 1 },
  });
  for (const status of [400, 403, 429])
    assert.deepEqual(observe({ attempts: [attempt('pol_a')], failure: fail(status) }), {});
  // Before a policy was asked, as where nobody may send the request.
  assert.deepEqual(observe({ failure: fail(500) }), {});
});

test('where Postgres or the policy store was away, or the process ended, no policy is at fault', () => {
  for (const code of ['postgres_unavailable', 'postgres_outcome_unknown', 'policy_store_unreachable', 'closing']) {
    const thrown = new AttuneError('it is away', { status: 503, code });
    assert.deepEqual(observe({ attempts: [attempt('pol_a', true)], failure: { code, status: 503, thrown } }), {
      pol_a: { requests: 1 },
    });
  }
  const thrown = new StatementError('CONNECT_TIMEOUT', 'the statement failed', 'none');
  assert.deepEqual(observe({ attempts: [attempt('pol_a')], failure: { code: null, status: 503, thrown } }), {
    pol_a: { requests: 1 },
  });
});

test('of two sides only the one that failed has an error, and both if it was neither', () => {
  const attempts = [attempt('pol_a'), attempt('pol_b', true)];
  assert.deepEqual(observe({ attempts, failure: fail(503) }), {
    pol_a: { requests: 1 },
    pol_b: { requests: 1, errors: 1 },
  });
  assert.deepEqual(observe({ attempts: [attempt('pol_a'), attempt('pol_b')], failure: fail(503) }), {
    pol_a: { requests: 1, errors: 1 },
    pol_b: { requests: 1, errors: 1 },
  });
});

test('a client that leaves is no error, and what it did not wait for is no response', () => {
  const cut = generation({ finishReasons: ['stop', 'cancelled'] });
  const { pol_a: sums } = observe({ attempts: [attempt('pol_a', true)], failure: fail(499), generations: [cut] });
  assert.equal(sums!.requests, 1);
  assert.equal(sums!.errors, undefined);
  assert.equal(sums!.responses, 1);
  assert.equal(sums!.seconds, undefined);
  assert.equal(sums!.completion_tokens, 11);
});

test('a response without a first token has no time to it, and the clock may stand still', () => {
  const { pol_a: none } = observe({ generations: [generation({ firstTokenAt: null })] });
  assert.equal(none!.first_tokens, undefined);
  const { pol_a: still } = observe({ generations: [generation({ firstTokenAt: 1000 })] });
  assert.equal(still!.first_token_log, Math.log(0.001));
});

test('what is kept while nothing can be stored is bounded, and the oldest goes', () => {
  const minutes = new PolicyMinutes();
  for (let at = 0; at < 2000; at++) minutes.add('pol_a', { requests: 1 }, at * 60_000);
  const rows = minutes.drain();
  assert.equal(rows.length, 1440);
  assert.equal(rows[0]!.minute.getTime(), 560 * 60_000);
  minutes.restore(rows);
  minutes.add('pol_a', { requests: 1 }, 1999 * 60_000);
  assert.equal(minutes.drain().at(-1)!.requests, 2);
});

test('what cannot be stored is added once Postgres is back, and the rest at the end', async () => {
  const proxy = await openTcpProxy(url);
  const connection = connect(proxy.url, { name: 'attune test' });
  const minutes = new PolicyMinutes();
  const flusher = flushPolicyMinutes(connection.db, minutes);
  const countRequests = async () =>
    (await db.select().from(policy_minutes)).reduce((sum, row) => sum + row.requests, 0);
  try {
    await proxy.refuse();
    minutes.add('pol_kept', { requests: 3 });
    await waitUntil(() => minutes.isEmpty);
    await waitUntil(() => !minutes.isEmpty);
    assert.equal(await countRequests(), 0);
    await proxy.forward();
    minutes.add('pol_kept', { requests: 4 });
    await waitUntil(async () => (await countRequests()) === 7);
    minutes.add('pol_kept', { requests: 5 });
  } finally {
    await flusher.close();
    await connection.close();
  }
  assert.equal(await countRequests(), 12);
});

test('a process whose clock is hours off adds to the minutes of Postgres', async (context) => {
  const now = Date.now();
  const offMs = 3 * 3_600_000;
  for (const [id, clock] of Object.entries({ pol_behind: now - offMs, pol_ahead: now + offMs })) {
    context.mock.timers.enable({ apis: ['Date'], now: clock });
    const minutes = new PolicyMinutes();
    minutes.add(id, { requests: 1 });
    await flushPolicyMinutes(db, minutes).close();
    context.mock.timers.reset();
    const [row] = await db.select().from(policy_minutes).where(eq(policy_minutes.policy_id, id));
    assert.ok(Math.abs(row!.minute.getTime() - now) < 3 * 60_000, `${id}: ${row!.minute.toISOString()}`);
  }
});
