import assert from 'node:assert/strict';
import { test } from 'node:test';
import { and, eq, inArray } from 'drizzle-orm';
import { readSecret } from '../../shared/access/secrets.ts';
import { preferences, round_pairs, rounds } from '../../shared/database/schema.ts';
import { newId } from '../../shared/id.ts';
import { readSettings } from '../../shared/settings.ts';
import { activatePolicy, registerPolicy } from '../../shared/store/registry.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { limitHeldOut } from './held-out-pairs.ts';
import { isHeldOutPrompt } from './pairs.ts';
import { findPairs, findRoundPairs, type RoundPair, saveRoundPairs } from './round-pairs.ts';

const { db } = await openTestDatabase();
const settings = readSettings({ TRAIN_MAX_PAIRS: '400', TRAIN_REPLAY: '1', TRAIN_HELD_OUT: '0.3' });
const config = { effort: 1, seed: 0 };
const { value: secret } = await readSecret(db, 'held_out');

async function collect(count: number, rater = 'x', created_by = 'unknown'): Promise<void> {
  const rows = Array.from({ length: count }, (_, at) => {
    const id = newId('pref_');
    const sides = { prompt: id, chosen: 'yes', rejected: 'no', content_hash: id };
    return {
      id,
      source: 'raw',
      choice: 'a',
      rater: rater === '' ? `user:${at}` : rater,
      created_by,
      ...sides,
    } as const;
  });
  await db.insert(preferences).values(rows);
}

/** A round on the pairs that are found, whose policy becomes active. */
async function learn(given = settings): Promise<{ round: string; policy: string }> {
  const { baselineId, pairs } = await findPairs(db, given, config);
  const [round, policy] = [newId('round_'), newId('pol_')];
  await db
    .insert(rounds)
    .values({ id: round, trigger: 'api', settings: {}, status: 'succeeded', parent_id: baselineId });
  await saveRoundPairs(db, { id: round, from_root: false }, pairs);
  await registerPolicy(db, { id: policy, name: 'x', manifest: {}, parent_id: baselineId, round_id: round });
  await activatePolicy(db, policy, 'published');
  return { round, policy };
}

const root = (await registerPolicy(db, { id: newId('pol_'), name: 'root', manifest: {} })).id;
await activatePolicy(db, root, 'imported');
const learned: { round: string; policy: string }[] = [];
for (let at = 0; at < 5; at++) {
  await collect(40);
  learned.push(await learn());
}
await collect(150);

const countIn = (pairs: RoundPair[]) =>
  learned.map(({ round }) => pairs.filter(({ learnedIn }) => learnedIn === round).length);
const select = (pairs: RoundPair[], split: RoundPair['split'], isLearned: boolean) =>
  pairs.filter((pair) => pair.split === split && (pair.learnedIn !== null) === isLearned);

test('replay and earlier held-out pairs are spread over all earlier rounds, each under the round that learned it', async () => {
  const { baselineId, pairs, overLimit } = await findPairs(db, settings, config);
  assert.equal(baselineId, learned.at(-1)!.policy);
  assert.equal(overLimit, 0);
  const [train, heldOut] = [select(pairs, 'train', false), select(pairs, 'held_out', false)];
  assert.equal(train.length + heldOut.length, 150);
  const replay = select(pairs, 'train', true);
  assert.equal(replay.length, train.length);
  assert.ok(
    countIn(replay).every((count) => count > 0),
    `${countIn(replay)}`,
  );
  const earlier = select(pairs, 'held_out', true);
  const all = await db
    .select()
    .from(round_pairs)
    .where(and(eq(round_pairs.split, 'held_out'), eq(round_pairs.replay, false)));
  assert.equal(earlier.length, all.length);
  for (const pair of [...replay, ...earlier]) {
    const isOwn = and(eq(round_pairs.round_id, pair.learnedIn!), eq(round_pairs.preference_id, pair.id));
    const [row] = await db.select().from(round_pairs).where(isOwn);
    assert.deepEqual([row?.split, row?.replay], [pair.split, false]);
    assert.equal(isHeldOutPrompt(pair.prompt, settings.TRAIN_HELD_OUT, secret), pair.split === 'held_out');
  }
  // They are evaluated in turns over the rounds.
  const last = limitHeldOut(pairs).slice(-earlier.length);
  assert.deepEqual(new Set(last), new Set(earlier));
  assert.equal(new Set(last.slice(0, 5).map(({ learnedIn }) => learnedIn)).size, 5);
});

test('the same seed gives the same pairs, another seed another replay, and a resumed round keeps its own', async () => {
  const { pairs, baselineId } = await findPairs(db, settings, config);
  assert.deepEqual((await findPairs(db, settings, config)).pairs, pairs);
  const other = (await findPairs(db, settings, { ...config, seed: 1 })).pairs;
  assert.notDeepEqual(select(other, 'train', true), select(pairs, 'train', true));
  assert.deepEqual(select(other, 'held_out', true), select(pairs, 'held_out', true));
  const round = newId('round_');
  await db.insert(rounds).values({ id: round, trigger: 'api', settings: {}, parent_id: baselineId });
  await saveRoundPairs(db, { id: round, from_root: false }, pairs);
  await collect(1);
  assert.deepEqual(await findRoundPairs(db, round, baselineId), pairs);
});

test('new pairs beyond the limit are counted', async () => {
  const { pairs, overLimit } = await findPairs(db, { ...settings, TRAIN_MAX_PAIRS: 10 }, config);
  const added = pairs.filter(({ learnedIn }) => learnedIn === null);
  // Ten, of which seven may be trained on: a third of the room is the replay's.
  const training = added.filter(({ split }) => split === 'train').length;
  assert.ok(training <= 7 && added.length <= 10, `${training} of ${added.length}`);
  assert.equal(added.length + overLimit, 151);
});

test('a pair that was trained on is not evaluated, nor one that was held out trained on, after TRAIN_HELD_OUT changed', async () => {
  const isLearned = inArray(
    round_pairs.round_id,
    learned.map(({ round }) => round),
  );
  const used = (split: RoundPair['split']) =>
    db
      .select()
      .from(round_pairs)
      .where(and(isLearned, eq(round_pairs.split, split)));
  const [trained, held] = [await used('train'), await used('held_out')];
  for (const TRAIN_HELD_OUT of [0.1, 0.6]) {
    const { pairs } = await findPairs(db, { ...settings, TRAIN_HELD_OUT }, config);
    const ids = (split: string) => new Set(pairs.flatMap((pair) => (pair.split === split ? [pair.id] : [])));
    assert.ok(trained.every(({ preference_id }) => !ids('held_out').has(preference_id)));
    assert.ok(held.every(({ preference_id }) => !ids('train').has(preference_id)));
  }
});

test('pairs of a policy that was rolled back are new, and belong to no earlier round', async () => {
  await activatePolicy(db, learned[1]!.policy, 'promoted');
  const { pairs } = await findPairs(db, settings, config);
  const [first, second, ...rest] = countIn(pairs);
  assert.ok(first! > 0 && second! > 0);
  assert.deepEqual(rest, [0, 0, 0]);
});

test('new held-out pairs beyond those that are evaluated are learned with the round, so that none stays new', async () => {
  await collect(900);
  const { pairs, overLimit } = await findPairs(db, { ...settings, TRAIN_MAX_PAIRS: 5000, TRAIN_HELD_OUT: 0.8 }, config);
  assert.equal(overLimit, 0);
  const heldOut = select(pairs, 'held_out', false);
  assert.ok(heldOut.length > 512);
  const evaluated = limitHeldOut(pairs).filter(({ split }) => split === 'held_out');
  assert.equal(evaluated.length, 512);
  // From all of the time, not only the newest.
  const places = evaluated.map((pair) => heldOut.indexOf(pair));
  assert.ok(Math.max(...places) > heldOut.length - 20 && Math.min(...places) < 20);
});

test('a round on everything evaluates the held-out pairs of earlier rounds that any other would', async () => {
  const changed = { ...settings, TRAIN_MAX_PAIRS: 5000, TRAIN_HELD_OUT: 0.8 };
  await learn(changed);
  const evaluate = async (takesAll: boolean) => {
    const { pairs } = await findPairs(db, changed, config, takesAll);
    return new Set(select(limitHeldOut(pairs), 'held_out', true).map(({ id }) => id));
  };
  const [usual, all] = [await evaluate(false), await evaluate(true)];
  assert.ok(usual.size >= 128 && usual.size < all.size);
  assert.ok(usual.isSubsetOf(all));
});

test('a flood of new pairs leaves the others their turns and the replay its room', async () => {
  await learn({ ...settings, TRAIN_MAX_PAIRS: 5000 });
  await collect(5, 'ann', 'key_app');
  await collect(5, 'bob', 'key_app');
  await collect(3000, 'mallory', 'key_app');
  await collect(2000, '', 'key_stolen');
  const few = { ...settings, TRAIN_MAX_PAIRS: 200 };
  const { pairs } = await findPairs(db, few, config);
  const ofRater = (name: string) => pairs.filter(({ rater }) => rater === name).length;
  assert.deepEqual([ofRater('ann'), ofRater('bob')], [5, 5]);
  const [fresh, replay] = [select(pairs, 'train', false), select(pairs, 'train', true)];
  assert.ok(fresh.length <= 100 && replay.length > 60, `${fresh.length} ${replay.length}`);
  const given = pairs.filter(({ created_by }) => created_by === 'key_stolen').length;
  assert.ok(given > 50 && given <= 100, `${given}`);
  const everything = (await findPairs(db, few, config, true)).pairs;
  assert.ok(select(everything, 'train', true).length > 60);
});

test('a pair that a round left out is neither new nor replayed', async () => {
  const { baselineId, pairs } = await findPairs(db, settings, config);
  const leftOut = pairs.filter(({ rater }) => rater === 'mallory').map(({ id }) => id);
  const [round, policy] = [newId('round_'), newId('pol_')];
  await db
    .insert(rounds)
    .values({ id: round, trigger: 'api', settings: {}, status: 'succeeded', parent_id: baselineId });
  await saveRoundPairs(db, { id: round, from_root: false }, pairs, new Set(leftOut));
  await registerPolicy(db, { id: policy, name: 'x', manifest: {}, parent_id: baselineId, round_id: round });
  await activatePolicy(db, policy, 'published');
  const next = await findPairs(db, { ...settings, TRAIN_MAX_PAIRS: 50_000 }, config, true);
  const found = new Set(next.pairs.map(({ id }) => id));
  assert.ok(leftOut.length > 0 && leftOut.every((id) => !found.has(id)));
});
