import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asc } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { new_pairs, preferences, round_pairs, rounds } from '../database/schema.ts';
import { activatePolicy, findRollbackTarget, registerPolicy, rollBackPolicy } from '../store/registry.ts';

const { db } = await openTestDatabase();
const NAMES = ['p1', 'p2', 'p3', 'p4', 'p5', 'p6'];
await db.insert(preferences).values(
  NAMES.map((id) => ({
    id,
    source: 'raw' as const,
    choice: 'a' as const,
    rater: 'x',
    prompt: id,
    chosen: 'yes',
    rejected: 'no',
    content_hash: id,
  })),
);

const listNew = async () =>
  (await db.select().from(new_pairs).orderBy(asc(new_pairs.preference_id))).map((row) => row.preference_id).join(' ');

/** A policy that a round trained on these pairs; a pair in parentheses was replayed. */
async function train(id: string, parent_id: string | null, pairs: string): Promise<void> {
  const round_id = parent_id && `round_${id}`;
  if (round_id) {
    await db.insert(rounds).values({ id: round_id, trigger: 'api', settings: {}, status: 'succeeded', parent_id });
    const rows = pairs.split(' ').map((pair) => {
      const preference_id = pair.replace(/[()]/g, '');
      return { round_id, preference_id, split: 'train' as const, replay: pair !== preference_id };
    });
    await db.insert(round_pairs).values(rows);
  }
  await registerPolicy(db, { id, name: id, manifest: {}, parent_id, round_id });
}

const promote = (id: string) => activatePolicy(db, id, 'promoted');

// a ─ b ─ c ─ d
//     └─ e     z
await train('a', null, '');
await train('b', 'a', 'p1 p2');
await train('c', 'b', 'p3 (p1)');
await train('d', 'c', 'p4 (p2) (p3)');
await train('e', 'b', 'p4 p5 (p1)');
await train('z', null, '');

test('a pair is new until a policy that learned it becomes active', async () => {
  assert.equal(await listNew(), 'p1 p2 p3 p4 p5 p6');
  await promote('a');
  assert.equal(await listNew(), 'p1 p2 p3 p4 p5 p6');
  await promote('b');
  assert.equal(await listNew(), 'p3 p4 p5 p6');
  await promote('d');
  assert.equal(await listNew(), 'p5 p6');
});

test('a rollback makes the pairs of the policies that it leaves new again, and promotion learned', async () => {
  await rollBackPolicy(db, await findRollbackTarget(db));
  assert.equal(await listNew(), 'p3 p4 p5 p6');
  await promote('c');
  assert.equal(await listNew(), 'p4 p5 p6');
});

test('a pair that the other branch learned too, or an ancestor of both, stays learned', async () => {
  await promote('d');
  await promote('e');
  assert.equal(await listNew(), 'p3 p6');
  await promote('d');
  assert.equal(await listNew(), 'p5 p6');
});

test('to a policy with no common ancestor every pair is new', async () => {
  await promote('z');
  assert.equal(await listNew(), 'p1 p2 p3 p4 p5 p6');
  await promote('d');
  assert.equal(await listNew(), 'p5 p6');
});

test('a policy whose id sorts before its parent’s is compared like any other', async () => {
  await train('b0', 'd', 'p5');
  await promote('b0');
  assert.equal(await listNew(), 'p6');
  await promote('e');
  assert.equal(await listNew(), 'p3 p6');
  await promote('b0');
  assert.equal(await listNew(), 'p6');
});

test('a lineage longer than a chunk is walked to its end', async () => {
  let parent = 'b0';
  for (let at = 0; at < 250; at++) {
    const id = `f${String(at).padStart(3, '0')}`;
    await registerPolicy(db, { id, name: id, manifest: {}, parent_id: parent });
    parent = id;
  }
  await promote(parent);
  assert.equal(await listNew(), 'p6');
  await promote('z');
  assert.equal(await listNew(), 'p1 p2 p3 p4 p5 p6');
});
