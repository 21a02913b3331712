import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestDatabase } from '../../testing/database.ts';
import { type PolicyVote, storePolicyVotes } from '../../testing/stored-rows.ts';
import { policies, queue_raters, queues } from '../database/schema.ts';
import { queueSettingsSchema } from '../queue-settings.ts';
import { mulberry32 } from '../random.ts';
import { createLeaderboard, type Leaderboard } from './leaderboard.ts';
import type { VoteFilter } from './read-votes.ts';

const { db } = await openTestDatabase();

const create = (
  filter: VoteFilter,
  options: Partial<Parameters<typeof createLeaderboard>[2]> = {},
): Promise<Leaderboard> => createLeaderboard(db, filter, { ties: 'half', style: false, ...options });

const toShare = (odds: number) => 1 / (1 + Math.exp(-odds));

const manifest = {};
await db.insert(policies).values([
  { id: 'pol_second', name: 'second', reference_id: 'pol_root', manifest, created_at: new Date(2026, 1) },
  { id: 'pol_root', name: 'root', manifest, created_at: new Date(2026, 2) },
  { id: 'pol_third', name: 'third', reference_id: 'pol_root', manifest, created_at: new Date(2026, 3) },
]);
const STRENGTHS: Record<string, number> = { pol_root: 0, pol_second: 0.7, pol_third: 1.2, given: -0.5 };

function simulate(seed: number, count: number): PolicyVote[] {
  const uniform = mulberry32(seed);
  const ids = Object.keys(STRENGTHS);
  const pick = (size: number) => Math.floor(uniform() * size);
  return Array.from({ length: count }, () => {
    const at = pick(ids.length);
    const [a, b] = [ids[at]!, ids[(at + 1 + pick(ids.length - 1)) % ids.length]!];
    const strict = uniform() < toShare(STRENGTHS[a]! - STRENGTHS[b]!) ? 'a' : 'b';
    const choice = uniform() < 0.1 ? 'tie' : uniform() < 0.05 ? 'both_bad' : strict;
    return { a, b, choice, rater: `rater_${pick(20)}`, prompt: `prompt ${pick(60)}` };
  });
}

test('policies are rated by their votes, with the root at 0', async () => {
  const votes = simulate(1, 1500);
  await storePolicyVotes(db, 'rated', [
    ...votes,
    { a: 'pol_root', b: 'pol_root', choice: 'a', rater: 'ann', prompt: 'same' },
    { a: 'pol_root', b: 'pol_third', choice: 'skip', rater: 'ann', prompt: 'skipped' },
  ]);
  const board = await create({ tenant: 'rated' });
  assert.deepEqual(
    board.policies.map(({ policy, name }) => [policy, name]),
    [
      ['pol_third', 'third'],
      ['pol_second', 'second'],
      ['pol_root', 'root'],
      ['given', null],
    ],
  );
  const root = board.policies[2]!;
  assert.deepEqual([root.ratings.half.rating, root.ratings.half.interval, root.ratings.dropped.rating], [0, null, 0]);
  for (const { policy, ratings } of board.policies)
    if (policy !== 'pol_root') {
      const { low, high } = ratings.dropped.interval!;
      const points = (STRENGTHS[policy]! * 400) / Math.LN10;
      assert.ok(low - 20 < points && points < high + 20, `${policy}: ${points} is not in ${low} to ${high}`);
      // Half a win for both moves them together.
      assert.ok(Math.abs(ratings.half.rating!) < Math.abs(ratings.dropped.rating!));
    }
  const count = (choice: string) => votes.filter((vote) => vote.choice === choice).length;
  assert.deepEqual(board.votes, {
    counted: 1500,
    ties: count('tie'),
    both_bad: count('both_bad'),
    skips: 1,
    same_policy: 1,
    raters: 20,
    prompts: 60,
  });
  assert.deepEqual(board.clustered_by, ['rater', 'prompt']);
  assert.deepEqual([board.notes, board.style], [[], null]);

  assert.equal(board.pairs.length, 6);
  const pair = board.pairs.find(({ policy, other }) => policy === 'pol_root' && other === 'pol_third')!;
  const met = votes.filter(({ a, b }) => [a, b].toSorted().join() === 'pol_root,pol_third');
  const wins = met.filter(({ a, choice }) => choice === (a === 'pol_root' ? 'a' : 'b')).length;
  assert.equal(pair.wins, wins);
  assert.equal(pair.wins + pair.losses + pair.ties + pair.both_bad, met.length);
  assert.ok(pair.win_rate < 0.5);
  const wonByAll = board.policies.reduce((sum, policy) => sum + policy.wins, 0);
  assert.equal(wonByAll, count('a') + count('b'));

  const { first_place: first } = board;
  assert.deepEqual([first!.policy, first!.rival], ['pol_third', 'pol_second']);
  assert.ok(first!.votes > 10 && first!.share < 0.2);
  assert.ok(first!.removed.every(({ better }) => better !== 'pol_second'));
});

test('ties dropped is another order of the same ratings', async () => {
  const [half, dropped] = [await create({ tenant: 'rated' }), await create({ tenant: 'rated' }, { ties: 'dropped' })];
  const find = (board: Leaderboard) => board.policies.find(({ policy }) => policy === 'pol_third')!.ratings;
  assert.deepEqual(find(half), find(dropped));
  assert.notEqual(half.first_place!.votes, dropped.first_place!.votes);
});

test('a policy that never lost is said to be apart, and nothing diverges', async () => {
  const prompts = Array.from({ length: 8 }, (_, at) => `prompt ${at}`);
  await storePolicyVotes(
    db,
    'separated',
    prompts.map((prompt) => ({ a: 'pol_root', b: 'pol_third', choice: 'b', rater: 'ann', prompt })),
  );
  const { policies, first_place, notes } = await create({ tenant: 'separated' });
  assert.deepEqual(
    policies.map(({ policy, ratings: { half } }) => [policy, half.rating, half.rank, half.group]),
    [
      ['pol_third', 0, 1, 0],
      ['pol_root', 0, 2, 1],
    ],
  );
  assert.equal(first_place, null);
  assert.match(notes[0]!, /2 groups/);
});

test('without votes there are no policies', async () => {
  const board = await create({ tenant: 'nobody' }, { style: true });
  assert.deepEqual([board.policies, board.pairs, board.first_place], [[], [], null]);
  assert.deepEqual(board.notes, ['There are no votes between two policies.']);
});

test('with style control a policy that only writes longer lists is not better', async () => {
  const uniform = mulberry32(7);
  const plain = 'A short answer.';
  const styled = (items: number) =>
    `# Answer\n\n${'- a **bold** point\n'.repeat(items)}${'and so on. '.repeat(5 * uniform())}`;
  const votes = Array.from({ length: 800 }, (_, at): PolicyVote => {
    const isA = uniform() < 0.5;
    const isStyled = uniform() < 0.8;
    const long = isStyled ? styled(1 + Math.floor(4 * uniform())) : plain;
    const choice = uniform() < (isStyled ? 0.75 : 0.5) === isA ? 'a' : 'b';
    const sides = isA
      ? { a: 'pol_third', b: 'pol_root', textA: long, textB: plain }
      : { a: 'pol_root', b: 'pol_third', textA: plain, textB: long };
    return { ...sides, choice, rater: `rater_${at % 10}`, prompt: `prompt ${at % 40}` };
  });
  await storePolicyVotes(db, 'styled', votes);
  const find = (board: Leaderboard) => board.policies.find(({ policy }) => policy === 'pol_third')!.ratings.half;
  const without = find(await create({ tenant: 'styled' }));
  const controlled = await create({ tenant: 'styled' }, { style: true });
  assert.ok(without.interval!.low > 50);
  const { low, high } = find(controlled).interval!;
  assert.ok(low < 0 && high > 0, `${low} to ${high}`);
  assert.deepEqual(
    controlled.style!.map(({ feature, points }) => [feature, points !== null]),
    [
      ['length', true],
      ['headers', true],
      // Only the styled side has any, as with headers: which of them raters like cannot be told.
      ['lists', false],
      ['bold', false],
    ],
  );
});

test('votes are selected by time, by queue, and without paused raters', async () => {
  const [queue] = await db
    .insert(queues)
    .values({ id: 'que_1', name: 'one', settings: queueSettingsSchema.parse({}), guidelines_version: 1 })
    .returning();
  await db.insert(queue_raters).values({ queue_id: queue!.id, rater: 'paused', paused_at: new Date() });
  const vote = { a: 'pol_root', b: 'pol_third', choice: 'a', prompt: 'one' } as const;
  await storePolicyVotes(db, 'selected', [
    { ...vote, rater: 'ann', created_at: new Date('2026-03-01') },
    { ...vote, rater: 'ann', queue: queue!.id },
    { ...vote, rater: 'paused', queue: queue!.id },
    { ...vote, rater: 'paused' },
  ]);
  const count = async (filter: Omit<VoteFilter, 'tenant'>) =>
    (await create({ tenant: 'selected', ...filter })).votes.counted;
  assert.equal(await count({}), 4);
  assert.equal(await count({ queue: queue!.id }), 2);
  assert.equal(await count({ queue: queue!.id, excludePaused: true }), 1);
  assert.equal(await count({ excludePaused: true }), 3);
  assert.equal(await count({ until: new Date('2026-03-02') }), 1);
  assert.equal(await count({ since: new Date('2026-03-01'), until: new Date('2026-03-01T00:00:01Z') }), 1);
  assert.equal(await count({ since: new Date('2026-03-02') }), 3);
});
