import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestDatabase } from '../../testing/database.ts';
import { preferences, round_pairs, rounds } from '../database/schema.ts';
import { registerPolicy } from '../store/registry.ts';
import { listLearners, readLineage } from './policy-lineage.ts';

const { db } = await openTestDatabase();
const raters = ['ann', 'ann', 'bob', ...Array.from({ length: 30 }, (_, at) => `rater ${String(at).padStart(2, '0')}`)];
await db.insert(preferences).values(
  raters.map((rater, at) => ({
    id: `p${at}`,
    source: at === 0 ? ('import' as const) : ('raw' as const),
    choice: 'a' as const,
    rater,
    prompt: `${at}`,
    chosen: 'yes',
    rejected: 'no',
    content_hash: `${at}`,
  })),
);

type Pair = { id: string; split?: 'train' | 'held_out'; replay?: boolean; left_out?: boolean };

async function publish(id: string, parent_id: string | null, pairs: Pair[]): Promise<void> {
  const round_id = parent_id && `round_${id}`;
  if (round_id) {
    await db
      .insert(rounds)
      .values({ id: round_id, trigger: 'api', settings: {}, status: 'succeeded', parent_id, policy_id: id });
    await db.insert(round_pairs).values(
      pairs.map(({ id, split = 'train', ...flags }) => ({
        round_id,
        preference_id: id,
        split,
        replay: false,
        ...flags,
      })),
    );
  }
  await registerPolicy(db, { id, name: `name of ${id}`, manifest: {}, parent_id, round_id });
}

await publish('root', null, []);
await publish('first', 'root', [
  { id: 'p0' },
  { id: 'p1' },
  { id: 'p2' },
  { id: 'p3', split: 'held_out' },
  { id: 'p32', left_out: true },
]);
await publish('second', 'first', [
  { id: 'p0', replay: true },
  ...Array.from({ length: 28 }, (_, at) => ({ id: `p${at + 4}` })),
]);
await publish('aside', 'first', [{ id: 'p3' }]);

test('a lineage goes from a policy to the root, with the pairs of each round by source and rater', async () => {
  const { steps, next } = await readLineage(db, 'second', 20);
  assert.equal(next, null);
  assert.deepEqual(
    steps.map(({ policy, name, round }) => [policy, name, round]),
    [
      ['second', 'name of second', 'round_second'],
      ['first', 'name of first', 'round_first'],
      ['root', 'name of root', null],
    ],
  );
  const [second, first, root] = steps;
  assert.deepEqual(first!.pairs, { learned: 3, replayed: 0, heldOut: 1 });
  assert.deepEqual(first!.sources, { import: 1, raw: 2 });
  assert.deepEqual(first!.raters, [
    { rater: 'ann', pairs: 2 },
    { rater: 'bob', pairs: 1 },
  ]);
  assert.deepEqual(second!.pairs, { learned: 28, replayed: 1, heldOut: 0 });
  assert.deepEqual([second!.raters.length, second!.raterCount], [20, 29]);
  assert.deepEqual([root!.pairs, root!.sources, root!.raters], [{ learned: 0, replayed: 0, heldOut: 0 }, {}, []]);
});

test('a lineage is read in pages', async () => {
  const page = await readLineage(db, 'second', 2);
  assert.deepEqual([page.steps.map(({ policy }) => policy), page.next], [['second', 'first'], 'root']);
  assert.deepEqual((await readLineage(db, 'root', 2)).next, null);
});

test('a preference names the policies that trained on it, not those that held it out', async () => {
  const learners = await listLearners(db, ['p0', 'p3', 'p32', 'none']);
  assert.deepEqual(Object.fromEntries(learners), { p0: ['first', 'second'], p3: ['aside'] });
  assert.deepEqual(await listLearners(db, []), new Map());
});

test('a pair that a round left out was not learned', async () => {
  assert.deepEqual(await listLearners(db, ['p32']), new Map());
});
