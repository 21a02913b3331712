// The paper's two stages for real: rounds that train a reward, and rounds that distil it into a policy.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { asc, eq } from 'drizzle-orm';
import { policies, preferences, round_events, round_pairs, rounds } from '../shared/database/schema.ts';
import { readCheckpoint, writeCheckpoint } from '../shared/model/checkpoint.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import { countNewPairs } from '../shared/rounds/pairs.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import type { RoundRequest } from '../shared/rounds/settings.ts';
import { activatePolicy, getActivePolicyId } from '../shared/store/registry.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { writeTinyCheckpoint } from '../testing/tiny-checkpoint.ts';
import { runNextRound } from '../trainer/main.ts';
import { previewRound } from '../trainer/stages/dry-run.ts';
import { InterruptedError, type Progress } from '../trainer/stages/log.ts';

const server = await startEdgeServer({
  LEARNING_RATE: '0.003',
  REWARD_LEARNING_RATE: '0.003',
  TRAIN_MIN_PAIRS: '20',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  BATCH_PAIRS: '8',
});
const { connection, localStore, settings } = server;
const { db } = connection;
const trainer = { settings, store: localStore };
const GUARDS = { gate_kl: 1e6, gate_chosen_drop: 1e6, gate_length: 1e6, gate_repetition: 1 };

async function collect(
  count: number,
  name: string,
  [chosen, rejected] = [' yes yes', ' no no'],
  rater = 'test',
): Promise<void> {
  for (let at = 0; at < count; at++) {
    const json = { prompt: `${name} ${at}:`, chosen, rejected, rater };
    assert.equal((await server.request('/v1/preferences', { json })).status, 200);
  }
}

type OnProgress = (progress: Progress) => void;

const run = (onProgress: OnProgress = () => {}, stop?: AbortSignal) =>
  runNextRound(connection, trainer, (_, progress) => onProgress(progress), stop);

async function getRound(id: string): Promise<Json> {
  return (await server.request(`/v1/rounds/${id}`)).body;
}

async function requestReward(reward: RoundRequest = {}): Promise<string> {
  const { status, body } = await server.request('/v1/rounds', { json: { method: { type: 'reward', reward } } });
  assert.equal(status, 200);
  return body.id;
}

async function trainReward(reward?: RoundRequest): Promise<Json> {
  const id = await requestReward(reward);
  await run();
  return getRound(id);
}

const requestDistill = async (request: RoundRequest) =>
  (await requestRound(db, 'api', { objective: 'distill', reference: 'parent', ...GUARDS, ...request })).id;

async function distill(request: RoundRequest): Promise<Json> {
  const id = await requestDistill(request);
  await run();
  return getRound(id);
}

const getEvents = (id: string) =>
  db.select().from(round_events).where(eq(round_events.round_id, id)).orderBy(asc(round_events.id));
const listStages = async (id: string) =>
  (await getEvents(id)).filter(({ type }) => type === 'stage').map(({ data }) => data?.stage);

test('a reward of too few pairs is refused, and a dry run says so', async () => {
  await collect(12, 'Too few');
  const lines = await previewRound(trainer, db, { method: 'reward' });
  const decision = lines.find(({ name }) => name === 'decision')!.text;
  const round = await trainReward();
  assert.equal(round.status, 'failed');
  assert.match(round.reason, /^there are \d+ pairs .* a reward, .* needs TRAIN_MIN_PAIRS \(20\); collect more/);
  assert.equal(decision, `it would fail: ${round.reason}`);
});

test('a reward of too few prompts is refused', async () => {
  for (let at = 0; at < 30; at++) await collect(1, 'One prompt', [` yes ${at}`, ` no ${at}`]);
  const heldOut = { TRAIN_HELD_OUT: 0.01 };
  const id = await requestReward();
  await runNextRound(connection, { ...trainer, settings: { ...settings, ...heldOut } }, () => {});
  assert.match((await getRound(id)).reason, /held out .* the interval of its accuracy needs 6; collect pairs on more/);
});

test('a dry run with too little memory says that the round would fail', async () => {
  await collect(60, 'Enough');
  const [small, enough] = await Promise.all(
    [2 ** 20, 2 ** 30].map((TRAIN_MEMORY) =>
      previewRound({ ...trainer, settings: { ...settings, TRAIN_MEMORY } }, db, { method: 'reward' }),
    ),
  );
  const decide = (lines: typeof small) => lines!.find(({ name }) => name === 'decision')!.text;
  assert.match(decide(small), /^it would fail: trainer: training this policy needs about/);
  assert.equal(decide(enough), 'it would run');
});

test('a reward whose accuracy chance explains is published with a warning', async () => {
  await removePairs();
  // Two raters who disagree about everything.
  await collect(30, 'Undecided');
  await collect(30, 'Undecided', [' no no', ' yes yes'], 'another');
  const round = await trainReward();
  assert.deepEqual([round.status, round.stage], ['succeeded', 'published'], round.reason);
  assert.match(round.reason, /^accuracy 50\.0% \[.*\] on \d+ held-out pairs; chance explains that: collect more pairs/);
  assert.ok((await getEvents(round.id)).some(({ level, message }) => level === 'warn' && message === round.reason));
  await removePairs();
});

/** A policy that says yes to one half of the prompts and no to the other, and the reward of raters who prefer yes. */
let startId: string;
let rewardId: string;

test('a policy learns to say yes and no', async () => {
  await collect(30, 'Agree');
  await collect(30, 'Refuse', [' no no', ' yes yes']);
  const { id } = await requestRound(db, 'api', { objective: 'sft', epochs: 12, early_stopping: 0, ...GUARDS });
  await run();
  const round = await getRound(id);
  assert.equal(round.stage, 'active', round.reason);
  startId = round.policy;
  await removePairs();
});

test('a reward is trained on all pairs, published with its accuracy and the interval, and consumes no pair', async () => {
  await collect(60, 'Clear');
  const fresh = await countNewPairs(db);
  for (const reward_loss of ['density_ratio', 'bradley_terry'] as const) {
    const round = await trainReward({ reward_loss, epochs: 4 });
    assert.deepEqual([round.status, round.stage, round.policy], ['succeeded', 'published', null], round.reason);
    assert.deepEqual(await listStages(round.id), ['selecting', 'training', 'evaluating', 'publishing', 'published']);
    assert.equal(round.method.type, 'reward');
    assert.equal(round.method.reward.reward_loss, reward_loss);
    assert.ok(!('gate_kl' in round.method.reward));
    assert.equal(round.gate, null);
    assert.match(round.reason, /^accuracy 100\.0% \[100\.0, 100\.0\] on \d+ held-out pairs$/);
    assert.ok(!('logps/chosen' in round.metrics));
    assert.equal(await countNewPairs(db), fresh);
    assert.equal(await getActivePolicyId(db), startId);

    const { body } = await server.request(`/v1/rewards/${round.reward}`);
    assert.match(body.id, /^rwd_[0-9a-f]{32}$/);
    assert.deepEqual([body.parent, body.round], [startId, round.id]);
    const { manifest } = body;
    assert.deepEqual(
      [manifest.kind, manifest.objective.type, manifest.serving.precision],
      ['reward', reward_loss, 'fp32'],
    );
    assert.deepEqual(manifest.metrics, round.metrics);
    assert.deepEqual(manifest.intervals['rewards/accuracies'], { low: 1, high: 1 });
    const files = Object.keys(manifest.files).filter((name) => name.startsWith('onnx/'));
    assert.deepEqual(files, ['onnx/reward.onnx', 'onnx/reward.onnx_data']);
    const { architecture } = await readCheckpoint(await localStore.getFolder(round.reward), 'reward');
    assert.equal(architecture.output, 'reward');
    rewardId = round.reward;
  }
});

test('a reward is distilled into the policy, by samples of the policy', async () => {
  const round = await distill({ reward: rewardId, beta: 1, epochs: 8, early_stopping: 0 });
  assert.deepEqual(
    await listStages(round.id),
    ['selecting', 'scoring', 'sampling', 'scoring', 'training', 'evaluating', 'publishing', 'activating', 'active'],
    round.reason,
  );
  assert.deepEqual([round.method.dil.reduction, round.method.dil.reward], ['sum', rewardId]);
  assert.ok(round.metrics['rewards/margins'] > 0.05, `${round.metrics['rewards/margins']}`);
  const { body } = await server.request(`/v1/policies/${round.policy}`);
  assert.deepEqual([body.active, body.parent, body.manifest.objective.type], [true, startId, 'distill']);
  assert.equal(body.manifest.objective.reward, rewardId);
  // It was trained against its parent; log-ratios are served against the first policy of the line.
  const json = { model: round.policy, prompt: 'Clear', response: ' yes' };
  const scored = await server.request('/v1/score', { json });
  assert.equal(scored.body.reference, server.policyId);
  await activatePolicy(db, startId, 'test');
});

test('distillation without a reward, with an unknown one or with a policy is refused', async () => {
  const none = await distill({});
  assert.match(none.reason, /^distill: REWARD is not set; set it to the id of a reward/);
  const withDistill = { ...settings, OBJECTIVE: 'distill', REDUCTION: 'sum', NEGATIVES: 'rejected' } as const;
  const lines = await previewRound({ ...trainer, settings: withDistill }, db);
  assert.equal(lines.find(({ name }) => name === 'decision')!.text, `it would fail: ${none.reason}`);
  const unknown = await distill({ reward: `rwd_${'0'.repeat(32)}` });
  assert.match(unknown.reason, /^there is no reward rwd_0+; GET \/v1\/rewards/);
  const dil = { objective: 'distill', reward: startId };
  const { status, body } = await server.request('/v1/rounds', { json: { method: { type: 'dil', dil } } });
  assert.deepEqual([status, body.error.param], [400, 'method.dil.reward']);
  const mean = await distill({ reward: rewardId, reduction: 'mean' });
  assert.match(mean.reason, /distill compares whole responses.*use reduction: sum/);
});

test('a reward of another tokenizer is refused, before anything is sampled', async () => {
  const other = await server.importTiny(5, { chatTemplate: '{{ messages[0].content }}' });
  await activatePolicy(db, other, 'test');
  const round = await distill({ reward: rewardId });
  assert.equal(round.status, 'failed');
  assert.match(round.reason, new RegExp(`^the reward ${rewardId} has another tokenizer than ${other}`));
  assert.deepEqual(await listStages(round.id), ['selecting', 'failed']);
  await activatePolicy(db, startId, 'test');
});

test('a policy that always gives the same response cannot be distilled into', async () => {
  const folder = path.join(server.home, 'constant');
  const { architecture, weights } = await writeTinyCheckpoint(folder, { seed: 1, tied: false });
  const head = weights.get('lm_head.weight')!;
  weights.set('lm_head.weight', { ...head, data: head.data.map((value) => 1e4 * value) });
  await writeCheckpoint(folder, { architecture, weights });
  const constant = await importPolicy(db, localStore, folder, 'constant', {
    precision: 'fp32',
    isPrecisionForced: true,
  });
  await activatePolicy(db, constant, 'test');
  const round = await distill({ reward: rewardId });
  assert.equal(round.status, 'failed');
  assert.match(round.reason, new RegExp(`^sampling from ${constant} failed: it gave two equal responses to each of`));
  await activatePolicy(db, startId, 'test');
});

test('a distillation that was stopped while it trained neither samples nor scores again', async () => {
  // Samples of its own: those of the other rounds are scored.
  const id = await requestDistill({ reward: rewardId, beta: 1, epochs: 8, early_stopping: 0, seed: 5 });
  const stop = new AbortController();
  const computed: string[][] = [[], []];
  const record =
    (attempt: string[]): OnProgress =>
    ({ stage, total, note }) => {
      if (total > 0 && !attempt.includes(stage)) attempt.push(stage);
      if (note.startsWith('loss')) stop.abort(new Error('stopped'));
    };
  await assert.rejects(run(record(computed[0]!), stop.signal), InterruptedError);
  assert.equal(await run(record(computed[1]!)), true);
  assert.deepEqual(computed, [
    ['sampling', 'scoring', 'training'],
    ['training', 'evaluating', 'publishing'],
  ]);
  const resumed = (await getEvents(id)).filter(({ message }) => message.startsWith('resuming after step 1 of'));
  assert.equal(resumed.length, 1);
  assert.equal((await getRound(id)).status, 'succeeded');
  await activatePolicy(db, startId, 'test');
});

const REWARD_STAGES = ['selecting', 'training', 'evaluating', 'publishing'] as const;
const DISTILL_STAGES = ['selecting', 'scoring', 'sampling', 'training', 'evaluating', 'publishing'] as const;
const ROUNDS = [
  ...REWARD_STAGES.map((stage) => ({ name: 'reward', stage, request: () => requestReward() })),
  ...DISTILL_STAGES.map((stage) => ({
    name: 'distillation',
    stage,
    request: () => requestDistill({ reward: rewardId, beta: 1, epochs: 8, early_stopping: 0 }),
  })),
];

for (const { name, stage, request } of ROUNDS) {
  test(`a ${name} stopped while ${stage} is resumed, and published once`, async () => {
    const id = await request();
    const stop = new AbortController();
    const stopInStage: OnProgress = (progress) => {
      if (progress.stage === stage) stop.abort(new Error('stopped'));
    };
    await assert.rejects(run(stopInStage, stop.signal), InterruptedError);
    assert.equal(await db.$count(policies, eq(policies.round_id, id)), 0);
    assert.equal(await run(), true);
    const [row] = await db.select().from(rounds).where(eq(rounds.id, id));
    assert.deepEqual(
      [row?.status, row?.stage],
      ['succeeded', name === 'reward' ? 'published' : 'active'],
      row?.reason ?? '',
    );
    const published = await db.select().from(policies).where(eq(policies.round_id, id));
    assert.deepEqual(
      published.map((policy) => policy.id),
      [row?.policy_id],
    );
    await activatePolicy(db, startId, 'test');
  });

  test(`a ${name} cancelled while ${stage} ends, and publishes nothing`, async () => {
    const id = await request();
    let cancelled: Promise<Json> | undefined;
    const cancelInStage: OnProgress = (progress) => {
      if (progress.stage === stage) cancelled ??= server.request(`/v1/rounds/${id}/cancel`, { method: 'POST' });
    };
    assert.equal(await run(cancelInStage), true);
    assert.equal((await cancelled!).status, 200);
    assert.equal((await getRound(id)).status, 'cancelled');
    assert.equal(await db.$count(policies, eq(policies.round_id, id)), 0);
    assert.equal(await run(), false);
  });
}

async function removePairs(): Promise<void> {
  await db.delete(round_pairs);
  await db.delete(preferences);
}
