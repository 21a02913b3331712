import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storeQueue } from '../../testing/stored-queues.ts';
import { type PolicyVote, storeCompletion, storePolicyVotes, storePreference } from '../../testing/stored-rows.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { connect } from '../database/connect.ts';
import {
  activations,
  audit_events,
  canaries,
  comparisons,
  completions,
  feedback,
  new_pairs,
  policy_minutes,
  preferences,
  queue_raters,
  round_pairs,
  rounds,
  webhook_events,
} from '../database/schema.ts';
import { newId } from '../id.ts';
import { findObstacle } from '../rounds/schedule.ts';
import { readSettings } from '../settings.ts';
import type { CanaryRow } from '../store/canary-states.ts';
import { activatePolicy, getActivePolicyId, registerPolicy } from '../store/registry.ts';
import { cancelCanary, getCanary, promoteCanary, startCanary } from './canaries.ts';
import { decideCanaries } from './decide.ts';
import { describeCanary, listEvidence } from './describe.ts';
import { addPolicyMinutes, type PolicyMinute } from './policy-minutes.ts';
import { countVotes } from './votes.ts';

const connection = await openTestDatabase();
const { db, url } = connection;
const settings = readSettings({});
for (const id of ['pol_a', 'pol_b', 'pol_c']) await registerPolicy(db, { id, name: id, manifest: {} });

beforeEach(async () => {
  await db.execute(`truncate preferences, comparisons, generations, completions, feedback, canaries, policy_minutes,
    activations, audit_events, webhook_events, rounds, queue_raters cascade`);
  await activatePolicy(db, 'pol_a', 'first');
});

const start = (share = 0.1) =>
  db.transaction((transaction) => startCanary(transaction, { policyId: 'pol_b', share, actor: 'key_a' }));
const decide = () => decideCanaries(db, settings);
const read = async (id: string) => getCanary(db, id);
const describeRow = async (id: string, changes = {}) => describeCanary(db, { ...settings, ...changes }, await read(id));

let prompts = 0;
/** W: a vote for the candidate, L: for the baseline, T: a tie, B: both are bad, S: a skip. By turns it is shown as a and b. */
function vote(canary: CanaryRow | null, votes: string, rater = (at: number) => `user:${at % 50}`): Promise<void> {
  const rows = [...votes].map((letter, at): PolicyVote => {
    const [a, b] = at % 2 === 0 ? ['pol_b', 'pol_a'] : ['pol_a', 'pol_b'];
    const choices = { W: a === 'pol_b' ? 'a' : 'b', L: a === 'pol_b' ? 'b' : 'a', T: 'tie', B: 'both_bad', S: 'skip' };
    const choice = choices[letter as keyof typeof choices] as PolicyVote['choice'];
    return { a: a!, b: b!, choice, rater: rater(at), prompt: `prompt ${prompts++}`, canary: canary?.id };
  });
  return storePolicyVotes(db, 'default', rows);
}

const minuteAt = (date: Date, minutes = 0) => new Date(Math.floor(date.getTime() / 60_000 + minutes) * 60_000);
const serve = (policy_id: string, at: Date, fields: Partial<PolicyMinute>, minutes = 0) =>
  addPolicyMinutes(db, [{ policy_id, minute: minuteAt(at, minutes), ...fields }]);

describe('votes', () => {
  test('for the candidate promote it, and their order decides when', async () => {
    const canary = await start();
    await vote(canary, 'WWWWWW');
    assert.deepEqual(await decide(), []);
    await vote(canary, 'WWLLLLLL', (at) => `user:late ${at}`);
    const [row] = await decide();
    assert.equal(row!.state, 'watching', 'the evidence was enough after eight votes, and is not after fourteen');
    assert.equal(row!.reason, '7 of 7 blind votes are for it: E+ is 31.9, and 20 decides');
    assert.equal(await getActivePolicyId(db), 'pol_b');
    assert.deepEqual(await decide(), []);
  });

  test('for the baseline roll it back, and the schedule trains from the baseline', async () => {
    const canary = await start();
    await vote(canary, 'LLWLLLLLLLLLL');
    const [row] = await decide();
    assert.equal(row!.state, 'rolled_back');
    assert.match(row!.reason!, /^1 of \d+ blind votes are for it: E− is [\d.]+, and 20 decides$/);
    assert.equal(await getActivePolicyId(db), 'pol_a');
    const [event] = await db.select().from(webhook_events).where(eq(webhook_events.type, 'policy.rolled_back'));
    assert.deepEqual(event!.data, {
      id: canary.id,
      policy: 'pol_b',
      baseline: 'pol_a',
      round: null,
      state: 'rolled_back',
      reason: row!.reason,
    });
  });

  test('that are ties are reported and decide nothing', async () => {
    const canary = await start();
    await vote(canary, 'WTTBWSL');
    assert.deepEqual(await decide(), []);
    const { votes, evidence } = await describeRow(canary.id);
    const expected = { wins: 2, losses: 1, ties: 2, both_bad: 1, repeated: 0, over_limit: 0, raters: 6, max: 1500 };
    assert.deepEqual(votes, expected);
    assert.ok(evidence.better > evidence.worse && evidence.better < evidence.threshold);
    assert.equal(evidence.win_rate!.value, 2 / 3);
  });

  test('of one rater count up to CANARY_RATER_VOTES, by tenant', async () => {
    const canary = await start();
    await vote(canary, 'W'.repeat(30), () => 'anonymous');
    const { votes } = await describeRow(canary.id, { CANARY_RATER_VOTES: 4 });
    assert.deepEqual([votes.wins, votes.over_limit, votes.raters], [4, 26, 1]);
    assert.deepEqual(await decideCanaries(db, { ...settings, CANARY_RATER_VOTES: 4 }), []);
    await db.update(preferences).set({ tenant: 'other' }).where(sql`${preferences.choice} = 'a'`);
    const both = await describeRow(canary.id, { CANARY_RATER_VOTES: 4 });
    assert.deepEqual([both.votes.wins, both.votes.over_limit, both.votes.raters], [8, 22, 2]);
  });

  test('on one comparison count once, however many agree about its two responses', async () => {
    const canary = await start();
    await vote(canary, 'WTL');
    const stored = await db.select().from(preferences).orderBy(preferences.id);
    for (const rater of ['user:x', 'user:y', 'user:z'])
      for (const { xid, ...row } of stored) {
        const id = newId('pref_');
        // Of whoever voted a tie first, another one may have seen a difference.
        const choice = row.choice === 'tie' ? 'a' : row.choice;
        await db.insert(preferences).values({ ...row, id, content_hash: id, choice, rater });
      }
    const { votes } = await describeRow(canary.id);
    assert.deepEqual([votes.wins, votes.losses, votes.repeated, votes.raters], [1, 2, 8, 6]);
  });

  test('of one rater decide nothing by themselves', async () => {
    const canary = await start();
    await vote(canary, 'W'.repeat(40), () => 'anonymous');
    assert.deepEqual(await decide(), []);
    assert.equal((await describeRow(canary.id)).votes.wins, settings.CANARY_RATER_VOTES);
    await vote(canary, 'W', () => 'user:another');
    assert.equal((await decide())[0]!.state, 'watching');
  });

  test('that are not blind votes on this canary do not count', async () => {
    const canary = await start();
    await vote(null, 'W'.repeat(10));
    await vote({ ...canary, id: 'canary_other' }, 'W'.repeat(10));
    await storePreference(db, 'given texts');
    assert.equal((await describeRow(canary.id)).votes.wins, 0);
  });

  test('that were erased, or are of a rater who is paused in the queue, do not count', async () => {
    const canary = await start();
    await vote(canary, 'WWWW');
    await db.update(preferences).set({ erased_at: sql`now()` }).where(eq(preferences.rater, 'user:0'));
    const [queue, other] = [await storeQueue(db), await storeQueue(db)];
    await db.update(comparisons).set({ queue_id: queue.id });
    await db.insert(queue_raters).values([
      { queue_id: queue.id, rater: 'user:1', paused_at: new Date() },
      { queue_id: queue.id, rater: 'user:2' },
      { queue_id: other.id, rater: 'user:3', paused_at: new Date() },
    ]);
    const { votes } = await describeRow(canary.id);
    assert.deepEqual([votes.wins, votes.raters], [2, 2]);
  });

  test('are a path of evidence, whose last point is that of the canary', async () => {
    const canary = await start();
    await vote(canary, 'WLWW');
    const points = await listEvidence(db, settings, await read(canary.id));
    assert.deepEqual(
      points.map(({ votes, wins, losses }) => [votes, wins, losses]),
      [
        [1, 1, 0],
        [2, 1, 1],
        [3, 2, 1],
        [4, 3, 1],
      ],
    );
    assert.equal(points.at(-1)!.better, (await describeRow(canary.id)).evidence.better);
    assert.ok(Math.abs(points[0]!.better - Math.log10(1.5)) < 1e-9);
    await db.execute('truncate preferences cascade');
    assert.deepEqual(await listEvidence(db, settings, await read(canary.id)), []);
    assert.equal((await describeRow(canary.id)).evidence.win_rate, null);
  });

  test('of a day are counted as a canary would count them, before there is one', async () => {
    const perRater = settings.CANARY_RATER_VOTES;
    const canary = await start();
    await vote(canary, 'WLTSB');
    assert.equal(await countVotes(db, perRater), 2);
    await vote(canary, 'W'.repeat(30), () => 'anonymous');
    assert.equal(await countVotes(db, perRater), 2 + perRater);
    await db.update(preferences).set({ created_at: sql`now() - interval '25 hours'` });
    assert.equal(await countVotes(db, perRater), 0);
    // Of two policies that were named.
    await vote(null, 'WL');
    assert.equal(await countVotes(db, perRater), 0);

    const voteOnPair = async (kind: 'comparison' | 'chat', queue_id: string | null) => {
      const [a, b] = (await storeCompletion(db, 'text', { kind, policy_id: 'pol_a' }, 2)) as [string, string];
      const comparison_id = newId('cmp_');
      const sides = { a_generation_id: a, b_generation_id: b, swapped: false };
      await db.insert(comparisons).values({ id: comparison_id, prompt: 'text', ...sides, queue_id });
      const texts = { source: 'comparison', chosen_generation_id: a, rejected_generation_id: b } as const;
      for (const rater of ['user:one', 'user:two'])
        await storePreference(db, 'text', { ...texts, comparison_id, rater });
    };
    const pairings = {
      same: { type: 'same' },
      canary: { type: 'canary' },
      named: { type: 'same', policy: 'pol_c' },
      policies: { type: 'policies', policies: ['pol_a', 'pol_c'] },
    } as const;
    const queues: Record<string, string> = {};
    for (const [name, pairing] of Object.entries(pairings)) queues[name] = (await storeQueue(db, { pairing })).id;
    for (const [kind, queue, counted] of [
      ['chat', null, 0],
      ['comparison', queues.policies!, 0],
      ['comparison', queues.named!, 0],
      ['comparison', null, 1],
      ['comparison', queues.same!, 2],
      ['comparison', queues.canary!, 3],
    ] as const) {
      await voteOnPair(kind, queue);
      assert.equal(await countVotes(db, perRater), counted, `${kind} ${queue}`);
    }
  });
});

describe('guards', () => {
  test('roll a canary back that fails where the active policy does not, in the same minutes', async () => {
    const canary = await start();
    const { created_at: at } = canary;
    await serve('pol_a', at, { requests: 100, errors: 100 }, -1);
    await serve('pol_a', at, { requests: 100, errors: 1 });
    await serve('pol_b', at, { requests: 19, errors: 19 });
    assert.deepEqual(await decide(), []);
    await serve('pol_b', at, { requests: 10, errors: 10 }, 1);
    await serve('pol_a', at, { requests: 100, errors: 2 }, 1);
    await serve('pol_a', at, { requests: 100, errors: 100 }, 2);
    const errors = (await describeRow(canary.id)).guards.find(({ name }) => name === 'errors')!;
    assert.deepEqual([errors.candidate, errors.baseline, errors.count], [1, 3 / 200, 29]);
    const [row] = await decide();
    assert.equal(row!.state, 'rolled_back');
    assert.match(row!.reason!, /^requests that failed: 100.0%, worse than the baseline’s is 1.5%/);
  });

  test('give a candidate up that no process can load', async () => {
    const { created_at: at } = await start();
    await serve('pol_b', at, { load_failures: 2 });
    assert.deepEqual(await decide(), []);
    await serve('pol_b', at, { load_failures: 1 });
    const [row] = await decide();
    assert.equal(row!.state, 'rolled_back');
    assert.match(row!.reason!, /^3 attempts to load it failed/);
    assert.equal(await getActivePolicyId(db), 'pol_a');
  });

  test('do not count what an earlier canary of the policy served in the minute in which this one begins', async () => {
    const earlier = await start();
    const at = minuteAt(earlier.created_at);
    await serve('pol_b', at, { load_failures: 3 });
    await decide();
    const { id } = await start();
    await serve('pol_b', at, { load_failures: 2 }, 1);
    const countFailures = async (ended: string, began: string) => {
      const after = (time: string) => sql`${at.toISOString()}::timestamptz + ${time}::interval`;
      await db
        .update(canaries)
        .set({ ended_at: after(ended) })
        .where(eq(canaries.id, earlier.id));
      await db
        .update(canaries)
        .set({ created_at: after(began) })
        .where(eq(canaries.id, id));
      return (await describeRow(id)).guards.find(({ name }) => name === 'loading')!.candidate;
    };
    assert.equal(await countFailures('10 seconds', '30 seconds'), 2);
    assert.equal(await countFailures('-10 seconds', '30 seconds'), 5);
    assert.equal(await countFailures('10 seconds', '70 seconds'), 2);
  });

  test('act before the votes do', async () => {
    const canary = await start();
    await vote(canary, 'W'.repeat(20));
    await serve('pol_b', canary.created_at, { load_failures: 3 });
    assert.equal((await decide())[0]!.state, 'rolled_back');
  });

  test('have the thumbs of the responses of the canary, the first of each rater', async () => {
    const canary = await start();
    const give = async (policy_id: string, canary_id: string | null, thumb: 1 | -1, rater: string) => {
      const [id] = await storeCompletion(db, 'text', { policy_id, canary_id });
      const row = { id: newId('fb_'), generation_id: id!, rater, thumb, created_by: 'key_a' };
      await db.insert(feedback).values(row);
    };
    for (let at = 0; at < 60; at++) {
      await give('pol_b', canary.id, -1, `user:${at}`);
      await give('pol_a', canary.id, 1, `user:${at}`);
    }
    await give('pol_b', null, 1, 'user:of another request');
    for (let at = 0; at < 5; at++) await give('pol_b', canary.id, 1, 'user:0');
    const { guards } = await describeRow(canary.id, { CANARY_RATER_VOTES: 2 });
    const thumbs = guards.find(({ name }) => name === 'thumbs')!;
    assert.deepEqual([thumbs.count, thumbs.baseline, thumbs.state], [61, 1, 'worse']);
    assert.match((await decide())[0]!.reason!, /^thumbs up: /);
    assert.equal(await db.$count(completions), 126);
  });
});

describe('the clock of Postgres', () => {
  test('ends a canary that is undecided after CANARY_MAX_HOURS', async () => {
    const canary = await start();
    await vote(canary, 'WLWL');
    const { closes_at } = await describeRow(canary.id);
    assert.equal(closes_at, Math.floor(canary.created_at.getTime() / 1000) + 72 * 3600);
    await db.update(canaries).set({ created_at: sql`now() - interval '71 hours'` });
    assert.deepEqual(await decide(), []);
    await db.update(canaries).set({ created_at: sql`now() - interval '73 hours'` });
    const [row] = await decide();
    assert.equal(row!.state, 'expired');
    assert.equal(row!.reason, 'undecided after 72 hours and 4 votes; the active policy stays');
    assert.equal((await describeRow(canary.id)).closes_at, null);
  });

  test('and no other decides: a process whose clock is a year ahead changes nothing', async (context) => {
    await start();
    context.mock.timers.enable({ apis: ['Date'], now: Date.now() + 365 * 86_400_000 });
    assert.deepEqual(await decide(), []);
  });

  test('orders votes: those that a process stored whose clock is hours behind are no earlier ones', async (context) => {
    const canary = await start();
    await vote(canary, 'WWW');
    context.mock.timers.enable({ apis: ['Date'], now: Date.now() - 3 * 3_600_000 });
    await vote(canary, 'LL', (at) => `user:behind ${at}`);
    context.mock.timers.reset();
    const points = await listEvidence(db, settings, canary);
    assert.deepEqual(
      points.map(({ wins, losses }) => [wins, losses]),
      [
        [1, 0],
        [2, 0],
        [3, 0],
        [3, 1],
        [3, 2],
      ],
    );
  });

  test('is not needed where CANARY_MAX_VOTES were given', async () => {
    const canary = await start();
    await vote(canary, 'WLWLWLWLWL');
    const [row] = await decideCanaries(db, { ...settings, CANARY_MAX_VOTES: 10 });
    assert.equal(row!.state, 'expired');
    assert.equal(row!.reason, 'undecided after 10 votes; the active policy stays');
  });
});

describe('a policy that is watched', () => {
  async function watch(): Promise<CanaryRow> {
    const { id } = await start();
    const change = { actor: 'canary', reason: 'better', watchHours: 24 };
    return (await db.transaction((transaction) => promoteCanary(transaction, id, change)))!;
  }

  test('is rolled back by a guard, against what its baseline served in the day before', async () => {
    const { id, promoted_at: at } = await watch();
    await serve('pol_a', at!, { requests: 500, errors: 500 }, -25 * 60);
    await serve('pol_a', at!, { requests: 500, errors: 5 }, -60);
    await serve('pol_b', at!, { requests: 50, errors: 50 }, -60);
    assert.deepEqual(await decide(), []);
    await serve('pol_b', at!, { requests: 50, errors: 25 }, 1);
    const [row] = await decide();
    assert.deepEqual([row!.id, row!.state], [id, 'rolled_back']);
    assert.match(row!.reason!, /^requests that failed: 50.0%, worse than the baseline’s is 1.0%/);
    assert.equal(await getActivePolicyId(db), 'pol_a');
    assert.deepEqual((await db.select().from(webhook_events)).map(({ type }) => type).slice(-2), [
      'policy.activated',
      'policy.rolled_back',
    ]);
  });

  test('is rolled back by votes, also on comparisons of the two that were asked for since then', async () => {
    const canary = await watch();
    await vote(canary, 'LLLL');
    await vote(null, 'LLLLL', (at) => `user:later ${at}`);
    assert.equal((await describeRow(canary.id)).votes.losses, 9);
    assert.equal((await decide())[0]!.state, 'rolled_back');
  });

  test('is not judged by votes of before that an earlier canary of the two has collected', async () => {
    const { id: earlier } = await start();
    await vote(await read(earlier), 'LLLLLL');
    await db.transaction((transaction) => cancelCanary(transaction, earlier, { actor: 'key_a', reason: 'ended' }));
    await activatePolicy(db, 'pol_b', 'promoted', { actor: 'key_a', watchHours: 24 });
    const [watched] = await db.select().from(canaries).where(eq(canaries.state, 'watching'));
    assert.equal((await describeRow(watched!.id)).votes.losses, 0);
    await vote(await read(earlier), 'L', () => 'user:later');
    assert.equal((await describeRow(watched!.id)).votes.losses, 1, 'somebody saw the sides before, and voted now');
    assert.deepEqual(await decide(), []);
    assert.equal(await getActivePolicyId(db), 'pol_b');
    await db.update(canaries).set({ ended_at: sql`now()` }).where(eq(canaries.id, watched!.id));
    await vote(null, 'LL', (at) => `user:after ${at}`);
    assert.equal((await describeRow(watched!.id)).votes.losses, 1, 'and later votes are not of its watch');
  });

  test('is not judged by thumbs of before', async () => {
    const [id] = await storeCompletion(db, 'text', { policy_id: 'pol_b' });
    const give = (rater: string) =>
      db.insert(feedback).values({ id: newId('fb_'), generation_id: id!, rater, thumb: -1, created_by: 'key_a' });
    await give('user:before');
    const canary = await watch();
    await give('user:after');
    const thumbs = (await describeRow(canary.id)).guards.find(({ name }) => name === 'thumbs')!;
    assert.equal(thumbs.count, 1);
  });

  test('is kept when WATCH_HOURS are over, and by votes that are for it', async () => {
    const canary = await watch();
    await vote(canary, 'W'.repeat(20));
    assert.deepEqual(await decide(), []);
    await db.update(canaries).set({ promoted_at: sql`now() - interval '25 hours'` });
    const [row] = await decide();
    assert.equal(row!.state, 'kept');
    assert.equal(row!.reason, 'nothing spoke against it in the 24 hours of its watch');
    assert.equal(await getActivePolicyId(db), 'pol_b');
  });

  test('is rolled back at the end of its watch if it is worse then', async () => {
    const { promoted_at } = await watch();
    await serve('pol_b', promoted_at!, { load_failures: 3 });
    await db.update(canaries).set({ promoted_at: sql`promoted_at - interval '25 hours'` });
    assert.equal((await decide())[0]!.state, 'rolled_back');
  });

  test('is not trained from once it is rolled back, and its pairs are new again', async () => {
    const round = { status: 'succeeded', trigger: 'schedule', settings: {}, parent_id: 'pol_a' } as const;
    await db.insert(rounds).values({ id: 'round_c', stage: 'canary', ...round });
    const pairs = await Promise.all(['one', 'two', 'three', 'four'].map((text) => storePreference(db, text)));
    await db
      .insert(round_pairs)
      .values(
        pairs.map((preference_id) => ({ round_id: 'round_c', preference_id, split: 'train', replay: false }) as const),
      );
    await registerPolicy(db, { id: 'pol_d', name: 'd', manifest: {}, parent_id: 'pol_a', round_id: 'round_c' });
    await db.update(rounds).set({ policy_id: 'pol_d' });
    const { id } = await db.transaction((transaction) =>
      startCanary(transaction, { policyId: 'pol_d', share: 0.1, actor: 'trainer' }),
    );
    assert.equal(await db.$count(new_pairs), 4, 'a canary has learned them, and the active policy has not');
    const change = { actor: 'canary', reason: 'better', watchHours: 24 };
    const row = (await db.transaction((transaction) => promoteCanary(transaction, id, change)))!;
    assert.equal(await db.$count(new_pairs), 0);
    await serve('pol_d', row.promoted_at!, { load_failures: 3 });
    await decide();
    assert.equal(await db.$count(new_pairs), 4);
    assert.equal(await getActivePolicyId(db), 'pol_a', 'the parent of the next round');
    const [ended] = await db.select().from(rounds);
    assert.deepEqual([ended!.stage, ended!.status], ['rolled_back', 'succeeded']);
    const waits = await findObstacle(db, { TRAIN_MIN_PAIRS: 4, TRAIN_RETRY_SHARE: 0.5 });
    assert.equal(
      waits,
      'round_c was rolled back on these pairs; the next one needs 2 more (TRAIN_RETRY_SHARE, 0.5 of the 4 that it used), and 0 have come',
    );
    await db.delete(activations);
    await db.delete(canaries);
    await db.execute(`delete from policies where id = 'pol_d'`);
  });
});

test('of ten processes that decide at once one does, with one audit line and one event', async () => {
  const canary = await start();
  await vote(canary, 'L'.repeat(12));
  const connections = Array.from({ length: 10 }, () => connect(url, { max: 1 }));
  const results = await Promise.all(connections.map((own) => decideCanaries(own.db, settings)));
  assert.equal(results.flat().length, 1);
  const actions = (await db.select().from(audit_events)).map(({ actor, action }) => `${actor} ${action}`);
  assert.deepEqual(actions.sort(), ['canary canary.rolled_back', 'key_a canary.started']);
  assert.equal(await db.$count(webhook_events, eq(webhook_events.type, 'policy.rolled_back')), 1);
  await Promise.all(connections.map((own) => own.close()));
});

test('a process that read a canary before it was promoted does not end its watch', async () => {
  const { id } = await start();
  const slow = connect(url, { max: 1 });
  let decided = Promise.resolve<CanaryRow[]>([]);
  await db.transaction(async (transaction) => {
    // Whoever asks which policy is active waits until this transaction has ended.
    await transaction.execute(sql`lock table ${activations} in access exclusive mode`);
    decided = decideCanaries(slow.db, settings);
    await waitUntil(async () => (await transaction.execute(sql`select 1 from pg_locks where not granted`)).length > 0);
    await promoteCanary(transaction, id, { actor: 'key_a', reason: 'better', watchHours: 24 });
  });
  assert.deepEqual(await decided, []);
  await slow.close();
  const { state, reason } = await read(id);
  assert.deepEqual([state, reason], ['watching', 'better']);
});

test('a canary of the policy before, which comes back by a rollback, ends with its own reason', async () => {
  await activatePolicy(db, 'pol_b', 'promoted');
  await activatePolicy(db, 'pol_c', 'promoted', { actor: 'key_a', watchHours: 24 });
  const canary = await start();
  const [watched] = await db.select().from(canaries).where(eq(canaries.state, 'watching'));
  await serve('pol_c', watched!.promoted_at!, { load_failures: 3 });
  const changed = await decide();
  assert.deepEqual(
    changed.map(({ id, state }) => [id, state]),
    [[watched!.id, 'rolled_back']],
  );
  const { state, reason } = await read(canary.id);
  assert.deepEqual([state, reason], ['cancelled', 'pol_b became active again by a rollback']);
});

test('a canary whose baseline was replaced by a version that knows no canaries is cancelled', async () => {
  const canary = await start();
  await db.insert(activations).values({ policy_id: 'pol_c', reason: 'promoted' });
  await vote(canary, 'W'.repeat(12));
  const [row] = await decide();
  assert.deepEqual([row!.state, row!.reason], ['cancelled', 'another policy became active']);
  assert.equal(await getActivePolicyId(db), 'pol_c');
});

test('without a canary nothing is decided', async () => {
  assert.deepEqual(await decide(), []);
  assert.equal(await db.$count(policy_minutes), 0);
});
