// Training rounds on a tiny policy, with Postgres, training and packages.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { desc, eq, inArray } from 'drizzle-orm';
import { readSecret } from '../shared/access/secrets.ts';
import { policies, preferences, reference_logps, round_pairs, rounds } from '../shared/database/schema.ts';
import { readManifest } from '../shared/package/files.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import { countNewPairs } from '../shared/rounds/pairs.ts';
import { requestRound, requestRoundIfDue } from '../shared/rounds/schedule.ts';
import { getActivePolicyId } from '../shared/store/registry.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { writeTinyCheckpoint } from '../testing/tiny-checkpoint.ts';
import { waitForRound } from '../testing/wait-for-round.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { isHeldOutPrompt } from '../trainer/data/pairs.ts';
import { startTrainer } from '../trainer/main.ts';
import { previewRound } from '../trainer/stages/dry-run.ts';

const server = await startEdgeServer({
  LEARNING_RATE: '0.003',
  TRAIN_MIN_PAIRS: '10',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  BATCH_PAIRS: '8',
});
const { db } = server.connection;

/** Pairs that prefer "yes" over "no", which any policy can learn. */
async function collect(count: number, name: string): Promise<void> {
  for (let at = 0; at < count; at++) {
    const json = { prompt: `${name} ${at}:`, chosen: ' yes yes', rejected: ' no no', rater: 'test' };
    assert.equal((await server.request('/v1/preferences', { json })).status, 200);
  }
}

/** Requests go on meanwhile. */
async function isServed(policy: string): Promise<boolean> {
  return waitUntil(async () => {
    const { status, body } = await server.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 2 } });
    assert.equal(status, 200);
    return body.model === policy;
  });
}

/** The lines of `attune train --dry-run` by name. */
async function preview(): Promise<Record<string, string>> {
  const lines = await previewRound({ settings: server.settings, store: server.localStore }, db);
  return Object.fromEntries(lines.map(({ name, text }) => [name, text]));
}

const openTrainer = () => startTrainer(server.settings, server.databaseUrl, () => {});
const trainer = await openTrainer();
after(() => trainer.close());

test('a round without pairs fails with the reason', async () => {
  const { body } = await server.request('/v1/rounds', { json: {} });
  assert.equal(body.status, 'queued');
  const round = await waitForRound(server, body.id);
  assert.equal(round.status, 'failed');
  assert.match(round.reason, /no new pairs/);
});

test('a round with too few held-out pairs for its gate fails before training, and its pairs stay new', async () => {
  await collect(10, 'Too few');
  const fresh = await countNewPairs(db);
  const round = await waitForRound(server, (await requestRound(db, 'api', {})).id);
  assert.equal(round.status, 'failed');
  assert.match(round.reason, /held out .*the gate needs 6 .*; collect pairs on more prompts/);
  assert.equal(await countNewPairs(db), fresh);
});

test('a requested round trains, publishes an immutable package, and the API serves it without a restart', async () => {
  await collect(30, 'Round one');
  const requested = await server.request('/v1/rounds', {
    json: { method: { type: 'dil', dil: { objective: 'ukl' } } },
  });
  const events = await (await fetch(`${server.edge.url}/v1/rounds/${requested.body.id}/events`)).text();
  const round = await waitForRound(server, requested.body.id);
  assert.equal(round.status, 'succeeded', round.reason);
  assert.equal(round.method.dil.objective, 'ukl');
  assert.match(round.policy, /^pol_/);
  assert.equal(round.parent, server.policyId);
  assert.equal(round.reference, server.policyId);
  assert.ok(round.metrics.loss < round.metrics['parent/loss']);
  for (const stageName of ['selecting', 'scoring', 'training', 'evaluating', 'publishing', 'activating'])
    assert.ok(events.includes(`"stage":"${stageName}"`), stageName);
  assert.match(events, /event: done/);

  const manifest = await readManifest(await server.localStore.getFolder(round.policy));
  assert.equal(manifest.parent, server.policyId);
  assert.equal(manifest.objective?.type, 'ukl');
  assert.equal(manifest.pairs?.count, round.pairs.train);
  assert.equal(await isServed(round.policy), true);
  const metrics = (await server.request(`/v1/rounds/${round.id}/metrics`)).body.data;
  const heldOut = metrics.filter((item: Json) => item.split === 'held_out');
  assert.equal(heldOut[0].step_number, 0);
  for (const { logps } of [heldOut[0], heldOut.at(-1)]) assert.equal(logps.chosen.length, round.pairs.held_out);
  assert.equal(heldOut[0].metrics['objective/kl'], 0, 'of the root from itself');
  assert.equal(heldOut.at(-1).metrics['objective/kl'], round.metrics['objective/kl']);
});

test('a round reports every check of the gate with intervals', async () => {
  const { body } = await server.request('/v1/rounds?limit=1');
  const { gate, metrics } = body.data[0];
  assert.equal(gate.pass, true);
  const names = ['improvement', 'kl', 'chosen_drop', 'length', 'repetition'];
  assert.deepEqual(
    gate.checks.map((check: Json) => check.name),
    names,
  );
  const [improvement] = gate.checks;
  assert.ok(improvement.interval.low > 0 && improvement.measured <= 1);
  assert.match(improvement.message, /held-out loss from -?\d/);
  assert.ok(gate.intervals.loss.low < metrics.loss && metrics.loss < gate.intervals.loss.high);
  for (const name of ['completions/mean_length', 'parent/completions/mean_length', 'objective/kl_per_token'])
    assert.ok(Number.isFinite(metrics[name]), name);
});

test('a better policy that exceeds a bound is rejected with the bound and the setting, and its pairs stay new', async () => {
  await collect(25, 'Round too far');
  const active = await getActivePolicyId(db);
  const before = await preview();
  assert.match(before.gate!, /^\d+ held-out prompts: a policy as good as that of round_\w+ would pass about \d+ times/);
  assert.equal(before.decision, 'it would run');
  assert.match(
    before.memory!,
    /^scoring \d+\.\d\d, sampling .*, training .*, publishing .* of \d+\.\d\d GiB; micro-batches of \d+ tokens$/,
  );
  assert.match(
    before.time!,
    /^about \d+ .*s: scoring \d+ s, sampling .* s, training .* s, evaluating .* s, publishing .* s; as fast as/,
  );
  const round = await waitForRound(server, (await requestRound(db, 'api', { gate_kl: 1e-4 })).id);
  assert.equal(round.status, 'succeeded', round.reason);
  assert.equal(round.stage, 'refused');
  assert.equal(round.policy, null);
  assert.match(round.reason, /^gate: refused: KL to the root is .* above 0\.0001; .*raise GATE_KL/);
  const failed = round.gate.checks.filter((check: Json) => !check.pass);
  assert.deepEqual(
    failed.map((check: Json) => [check.name, check.bound]),
    [['kl', 1e-4]],
  );
  assert.equal(await getActivePolicyId(db), active);
  const after = await preview();
  assert.equal(after.pairs, before.pairs);
  assert.match(
    after.decision!,
    new RegExp(`the schedule waits: ${round.id} was refused on these pairs; the next one needs`),
  );
  await requestRoundIfDue(db, server.settings);
  assert.equal(await db.$count(rounds, eq(rounds.trigger, 'schedule')), 0);
});

test('held-out prompts are never trained on, and a learned pair is new only after a rollback', async () => {
  await collect(25, 'Round two');
  const { id } = await requestRound(db, 'api', {});
  const round = await waitForRound(server, id);
  assert.equal(round.status, 'succeeded', round.reason);
  const used = await db
    .select()
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id));
  const { value: secret } = await readSecret(db, 'held_out');
  for (const { round_pairs: pair, preferences: preference } of used)
    assert.equal(pair.split === 'held_out', isHeldOutPrompt(preference.prompt, server.settings.TRAIN_HELD_OUT, secret));
  assert.ok(round.pairs.replay > 0);
  const [first, ...others] = round.earlier_rounds;
  assert.deepEqual(others, []);
  assert.equal(first.round, used.find(({ round_pairs: pair }) => !pair.replay)?.round_pairs.round_id);
  assert.equal(first.pairs, round.pairs.held_out_earlier);
  assert.ok(first.pairs > 0 && first.after['rewards/margins'] > first.before['rewards/margins']);
  assert.equal(first.forgotten, false);
  const learned = used.filter(({ round_pairs: pair }) => pair.round_id === id && !pair.replay).length;
  assert.ok(learned >= 50, 'with those of the refused round');
  const fresh = await countNewPairs(db);
  const move = (action: string) => server.request(`/v1/policies/${action}`, { json: {} });
  assert.equal((await move('rollback')).body.id, round.parent);
  assert.equal(await countNewPairs(db), fresh + learned);
  assert.equal((await move(`${round.policy}/promote`)).status, 200);
  assert.equal(await countNewPairs(db), fresh);
});

test('the reference scores a pair once', async () => {
  const pairs = await db.selectDistinct({ id: round_pairs.preference_id }).from(round_pairs);
  assert.equal(await db.$count(reference_logps), pairs.length);
});

test('a round with reference=parent scores with its parent, and its policy keeps the root as its reference', async () => {
  const before = (await server.request('/v1/policies')).body.data.find((each: Json) => each.active);
  assert.notEqual(before.id, before.reference, 'needs a policy that a round has trained');
  await collect(70, 'Parent');
  const dil = { reference: 'parent' };
  const { body } = await server.request('/v1/rounds', { json: { method: { type: 'dil', dil } } });
  const round = await waitForRound(server, body.id);
  assert.equal(round.status, 'succeeded', round.reason);
  assert.equal(round.reference, before.id);
  const [policy] = await db.select().from(policies).where(eq(policies.round_id, round.id));
  assert.equal(policy!.parent_id, before.id);
  assert.equal(policy!.reference_id, before.reference);
});

test('the KL is known before the first step, at each held-out evaluation, and at the end', async () => {
  await collect(40, 'Round of many epochs');
  const dil = { epochs: 12, gate_kl: 1e-4, early_stopping: 0 };
  const { body } = await server.request('/v1/rounds', { json: { method: { type: 'dil', dil } } });
  const round = await waitForRound(server, body.id);
  assert.equal(round.stage, 'refused', round.reason);
  const metrics = (await server.request(`/v1/rounds/${round.id}/metrics`)).body.data;
  const heldOut = metrics.filter((item: Json) => item.split === 'held_out');
  const kls = heldOut.map((item: Json) => item.metrics['objective/kl']);
  assert.ok(kls.length > 3, `${kls}`);
  assert.ok(
    kls.slice(1, -1).every((kl: number) => kl > 0),
    `${kls}`,
  );
  const parent = (await server.request(`/v1/policies/${round.parent}`)).body;
  assert.equal(kls[0], parent.manifest.metrics['objective/kl'], 'as the parent’s own round measured it');
  assert.equal(kls.at(-1), round.metrics['objective/kl']);
});

test('a policy that is not better than its parent is rejected with the reason, and the parent keeps serving', async () => {
  await collect(20, 'Round three');
  const active = await getActivePolicyId(db);
  // No step is large enough to change a weight. With a large one it is a matter of chance what the policy prefers.
  const { id } = await requestRound(db, 'api', { learning_rate: 1e-12 });
  const round = await waitForRound(server, id);
  assert.equal(round.policy, null);
  assert.match(round.reason, /gate|loss is/);
  assert.equal(await getActivePolicyId(db), active);
});

test('two trainers on one database run one round at a time', async () => {
  await collect(30, 'Round four');
  const second = await openTrainer();
  const ids = [(await requestRound(db, 'api', {})).id, (await requestRound(db, 'api', {})).id];
  for (const id of ids) await waitForRound(server, id);
  const [first, next] = await db.select().from(rounds).where(inArray(rounds.id, ids)).orderBy(rounds.started_at);
  assert.ok(first!.finished_at! <= next!.started_at!);
  await second.close();
});

test('the schedule requests a round only when there are enough new pairs', async () => {
  const queued = () => db.$count(rounds, eq(rounds.trigger, 'schedule'));
  await requestRoundIfDue(db, { ...server.settings, TRAIN_MIN_PAIRS: 1000 });
  assert.equal(await queued(), 0);
  await collect(20, 'Round five');
  await requestRoundIfDue(db, server.settings);
  assert.equal(await queued(), 1);
  const [row] = await db.select().from(rounds).where(eq(rounds.trigger, 'schedule'));
  assert.equal((await waitForRound(server, row!.id)).status, 'succeeded');
});

test('a reference with a different tokenizer than the parent fails the round, naming both policies', async () => {
  const staging = await server.localStore.createStaging();
  await writeTinyCheckpoint(staging, { seed: 3 });
  const file = path.join(staging, 'tokenizer.json');
  await writeFile(file, (await readFile(file, 'utf8')).replaceAll(' upon', ' upom').replaceAll('▁upon', '▁upom'));
  const other = await importPolicy(db, server.localStore, staging, 'another tokenizer');
  await server.localStore.discardStaging(staging);
  const active = (await getActivePolicyId(db))!;
  await db.update(policies).set({ reference_id: other }).where(eq(policies.id, active));
  const round = await waitForRound(server, (await requestRound(db, 'api', {})).id);
  assert.equal(round.status, 'failed');
  assert.match(round.reason, new RegExp(`the root ${other} has another tokenizer than ${active}`));
});

test('a failed scheduled round is not requested again for the same pairs', async () => {
  // The previous test left a mismatched reference, so every round fails.
  const scheduled = () => db.$count(rounds, eq(rounds.trigger, 'schedule'));
  const before = await scheduled();
  await collect(20, 'Round six');
  await requestRoundIfDue(db, server.settings);
  const [row] = await db.select().from(rounds).where(eq(rounds.trigger, 'schedule')).orderBy(desc(rounds.id)).limit(1);
  assert.equal((await waitForRound(server, row!.id)).status, 'failed');
  await requestRoundIfDue(db, server.settings);
  assert.equal(await scheduled(), before + 1);
  await collect(1, 'Round seven');
  await requestRoundIfDue(db, server.settings);
  assert.equal(await scheduled(), before + 2);
});
