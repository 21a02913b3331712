// Sampler and staleness of pairs, importance weights, dry runs and custom objectives.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { eq } from 'drizzle-orm';
import { round_events, rounds } from '../shared/database/schema.ts';
import { readManifest } from '../shared/package/files.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { readSettings } from '../shared/settings.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { startTrainer } from '../trainer/main.ts';
import { previewRound } from '../trainer/stages/dry-run.ts';

const env = {
  LEARNING_RATE: '0.003',
  TRAIN_MIN_PAIRS: '10',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  TRAIN_SCHEDULE: '0 0 1 1 *',
};
const server = await startEdgeServer(env);
const { db } = server.connection;
const trainer = await startTrainer(server.settings, server.databaseUrl, () => {});
after(() => trainer.close());

/** Comparisons sampled from the active policy; the longer text wins. */
async function vote(count: number, name: string, sampling: object = {}): Promise<void> {
  for (let at = 0; at < count; at++) {
    const json = { prompt: `${name} ${at}`, max_tokens: 6, seed: at, ...sampling };
    const { body } = await server.request('/v1/comparisons', { json });
    const choice = body.a.text.length >= body.b.text.length ? 'a' : 'b';
    const vote = { comparison: body.id, choice, rater: 'test' };
    assert.equal((await server.request('/v1/preferences', { json: vote })).status, 200);
  }
}

async function run(request: Parameters<typeof requestRound>[2]): Promise<{ round: Json; messages: string[] }> {
  const { id } = await requestRound(db, 'api', request);
  for (let attempt = 0; attempt < 1200; attempt++) {
    const [round] = await db.select().from(rounds).where(eq(rounds.id, id));
    if (round!.finished_at) {
      const events = await db.select().from(round_events).where(eq(round_events.round_id, id));
      return { round, messages: events.map(({ message }) => message) };
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${id} did not finish`);
}

const preview = async (changes: Record<string, string> = {}) => {
  const settings = readSettings({ ATTUNE_HOME: server.home, ...env, ...changes });
  const lines = await previewRound({ settings, store: server.localStore }, db);
  return Object.fromEntries(lines.map(({ name, text }) => [name, text]));
};

test('a round reports the staleness of its pairs, and negatives sampled from the reference have weight 1', async () => {
  await vote(30, 'First');
  const before = await preview();
  assert.match(before.staleness!, /^0: \d+ /);
  assert.equal(before.decision, 'it would run');
  assert.match(before.reference!, /; 0 of \d+ pairs are scored already/);
  const { round, messages } = await run({ weighting: 'importance', epochs: 3 });
  assert.equal(round.status, 'succeeded', round.reason);
  const { pairs } = round;
  assert.deepEqual(pairs.ages, { 0: pairs.train + pairs.held_out });
  const weights = messages.find((message) => message.startsWith('importance weights'))!;
  const [, known, effective] = /(\d+) negatives have an effective sample size of ([\d.]+), 0 capped at 2, 0 unknown/
    .exec(weights)!
    .map(Number);
  assert.equal(known, pairs.train + pairs.held_out);
  // The policy is served at a lower precision than it is scored at.
  assert.ok(effective! / known! > 0.95, weights);
});

test('a round with importance weights reports the effective sample size and the unknown negatives', async () => {
  const activated = await server.importTiny(7);
  assert.ok(activated);
  await vote(20, 'Second');
  await vote(4, 'Tempered', { temperature: 0.5 });
  const schema = { type: 'string', minLength: 3, maxLength: 40 };
  await vote(3, 'Formatted', { response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } });
  await server.request('/v1/preferences', {
    json: { prompt: 'Imported', chosen: ' yes', rejected: ' no', rater: 'test' },
  });
  const { round, messages } = await run({ weighting: 'importance' });
  assert.equal(round.status, 'succeeded', round.reason);
  const weights = messages.find((message) => message.startsWith('importance weights'))!;
  // Four comparisons at another temperature, three in a format, and one import.
  assert.match(weights, / 8 unknown with weight 1/);
});

test('pairs staler than max_staleness are skipped and counted', async () => {
  const all = await preview();
  const fresh = await preview({ MAX_STALENESS: '0' });
  assert.match(all['left out']!, /^0 sampled too long ago/);
  const staleness = Object.fromEntries(
    [...all.staleness!.matchAll(/(\w+): (\d+)/g)].map(([, age, count]) => [age!, Number(count)] as const),
  );
  const old = Object.entries(staleness).reduce((sum, [age, count]) => sum + (Number(age) > 0 ? count : 0), 0);
  assert.ok(fresh['left out']!.startsWith(`${old} sampled too long ago`), `${fresh['left out']} ${all.staleness}`);
});

test('contradictory votes are counted by the dry run and by the round, and weighed if it is asked to', async () => {
  const votes = [
    ['r1', ' yes', ' no'],
    ['r2', ' yes', ' no'],
    ['r3', ' no', ' yes'],
  ];
  for (let at = 0; at < 10; at++)
    for (const [rater, chosen, rejected] of votes) {
      const json = { prompt: `Disputed ${at}:`, chosen, rejected, rater };
      assert.equal((await server.request('/v1/preferences', { json })).status, 200);
    }
  const counted = '30 were chosen both ways, on 30 fewer than three quarters of several raters agree';
  const { quality, 'left out': kept } = await preview();
  assert.ok(quality!.endsWith(counted), quality);
  assert.match(kept!, / 0 by CONTRADICTIONS/);
  assert.match((await preview({ MIN_AGREEMENT: '0.7' }))['left out']!, / [1-9]\d* by MIN_AGREEMENT$/);
  const { round, messages } = await run({ contradictions: 'weigh' });
  assert.equal(round.status, 'succeeded', round.reason);
  assert.ok(messages.some((message) => message.endsWith(counted)));
  // One of three votes on each training prompt.
  const { left_out: leftOut } = round.pairs;
  assert.ok(leftOut.contradictory > 0 && leftOut.contradictory <= 10);
  assert.ok(messages.some((message) => message.includes(`, ${leftOut.contradictory} by CONTRADICTIONS`)));
});

test('a dry run does not write to the database', async () => {
  const counts = async () => [await db.$count(rounds), await db.$count(round_events)];
  const before = await counts();
  await preview({ OBJECTIVE: 'dpo' });
  assert.deepEqual(await counts(), before);
});

test('a round trains with a custom h, and the package records it', async () => {
  const file = path.join(server.home, 'my-h.ts');
  await writeFile(
    file,
    'export default (tf) => ({ h: (r) => tf.sub(tf.mul(r, tf.log(r)), r), derivative: (r) => tf.log(r) });',
  );
  await vote(30, 'Third');
  const { round } = await run({ objective: file, epochs: 4 });
  assert.equal(round.status, 'succeeded', round.reason);
  if (!round.policy_id) return assert.match(round.reason, /gate/);
  const { objective } = await readManifest(await server.localStore.getFolder(round.policy_id));
  assert.equal(objective?.type, 'my-h.ts');
  assert.match(String(objective?.sha256), /^[0-9a-f]{64}$/);
});

test('a round with a non-convex h fails before training', async () => {
  const file = path.join(server.home, 'concave.ts');
  await writeFile(
    file,
    'export default (tf) => ({ h: (r) => tf.neg(tf.square(r)), derivative: (r) => tf.mul(-2, r) });',
  );
  await vote(12, 'Fourth');
  const { round } = await run({ objective: file });
  assert.equal(round.status, 'failed');
  assert.match(round.reason, /slope of h falls.*h must be convex/);
});
