// Poisoned votes: one rater with 10,000 of them, and 5,000 crafted pairs that one key gave under invented names. In a round they
// are no more than their shares, and they publish nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { and, asc, eq } from 'drizzle-orm';
import postgres from 'postgres';
import { preferences, round_events, round_pairs, rounds } from '../shared/database/schema.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import type { RoundRequest } from '../shared/rounds/settings.ts';
import { getActivePolicyId } from '../shared/store/registry.ts';
import { Tokenizer } from '../shared/tokenizer/tokenizer.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { runNextRound } from '../trainer/main.ts';
import { previewRound } from '../trainer/stages/dry-run.ts';

const server = await startEdgeServer({
  LEARNING_RATE: '0.003',
  TRAIN_MAX_PAIRS: '600',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  BATCH_PAIRS: '8',
});
const { connection, localStore, settings, policyId } = server;
const { db } = connection;
const trainer = { settings, store: localStore };
const RATERS = 12;
const [GOOD, BAD] = [' yes yes', ' no no'];

const tokenizer = await Tokenizer.open(await localStore.getFolder(policyId));
const encode = (prompt: string, response = GOOD) => tokenizer.encodePair(prompt, response, { eos: false });
const EOS = tokenizer.encodePair('Once', GOOD, { eos: true }).responseIds.at(-1)!;
const PROMPT = encode('Tell me about ').promptIds;
/** The token of the character with code 0. */
const BYTE = encode('Tell me about 1').promptIds.at(-1)! - '1'.charCodeAt(0);

const sql = postgres(server.databaseUrl, { max: 1, onnotice: () => {} });
test.after(() => sql.end());
// Ids as newId makes them, and prompts that say nothing about whose they are: "Tell me about 12345:".
await sql.unsafe(`
  create function pg_temp.id(prefix text, at bigint) returns text immutable language sql return
    prefix || lpad(to_hex(1700000000000 + at), 12, '0') || '7' || substr(md5(prefix || at), 1, 19);
  create function pg_temp.number(at bigint) returns text immutable language sql return (10000 + at * 7919 % 90000) || ':';
  create function pg_temp.prompt(at bigint) returns jsonb immutable language sql return
    to_jsonb('Tell me about ' || pg_temp.number(at));
  create function pg_temp.tokens(at bigint) returns int[] immutable language sql return array[${PROMPT}]::int[] || (
    select array_agg(${BYTE} + ascii(letter) order by nth)::int[]
    from regexp_split_to_table(pg_temp.number(at), '') with ordinality as letters (letter, nth));`);

let next = 0;

/** Votes on comparisons, each of its own prompt, as the API stores them. */
async function vote(count: number, rater: string, createdBy: string, [chosen, rejected] = [GOOD, BAD]): Promise<void> {
  const series = sql`generate_series(${next}::bigint, ${next + count - 1}) as at`;
  const sides = sql`(values (0, ${chosen}, ${encode('Once', chosen).responseIds}::int[]),
    (1, ${rejected}, ${encode('Once', rejected).responseIds}::int[])) as sides (nth, response, ids)`;
  await sql`
    insert into completions (id, kind, policy_id, prompt, prompt_token_ids, sampling, seed)
    select pg_temp.id('cmpl-', 2 * at), 'comparison', ${policyId}, pg_temp.prompt(at), pg_temp.tokens(at),
      '{"temperature": 1}', at from ${series}`;
  await sql`
    insert into generations (id, completion_id, choice, text, token_ids, logps, stop_token, finish_reason)
    select pg_temp.id('cmpl-', 2 * at + nth), pg_temp.id('cmpl-', 2 * at), nth, response, ids,
      array_fill(-2::real, array[array_length(ids, 1)]), ${EOS}, 'stop' from ${series}, ${sides}`;
  await sql`
    insert into comparisons (id, prompt, a_generation_id, b_generation_id, swapped)
    select pg_temp.id('cmp_', at), pg_temp.prompt(at), pg_temp.id('cmpl-', 2 * at), pg_temp.id('cmpl-', 2 * at + 1), false
    from ${series}`;
  await sql`
    insert into preferences (id, source, comparison_id, choice, rater, prompt, chosen, rejected, chosen_generation_id,
      rejected_generation_id, content_hash, created_by)
    select pg_temp.id('pref_', at), 'comparison', pg_temp.id('cmp_', at), 'a', ${rater}, pg_temp.prompt(at), ${chosen},
      ${rejected}, pg_temp.id('cmpl-', 2 * at), pg_temp.id('cmpl-', 2 * at + 1), md5('a' || at) || md5('b' || at),
      ${createdBy} from ${series}`;
  next += count;
}

/** Given texts, each under another name. */
async function give(count: number, key: string, [chosen, rejected] = [GOOD, BAD]): Promise<void> {
  await sql`
    insert into preferences (id, source, choice, rater, prompt, chosen, rejected, content_hash, vote_hash, created_by)
    select pg_temp.id('pref_', at), 'raw', 'a', 'user:invented ' || at, pg_temp.prompt(at), ${chosen}, ${rejected},
      md5('a' || at) || md5('b' || at), md5('c' || at) || md5('d' || at), ${key}
    from generate_series(${next}::bigint, ${next + count - 1}) as at`;
  next += count;
}

/** Of raters who signed in, so that each stores its own votes. */
async function voteHonestly(each: number): Promise<void> {
  for (let at = 0; at < RATERS; at++) await vote(each, `rater_${at}`, `rater_${at}`);
}

async function flood(): Promise<void> {
  await vote(10_000, 'user:mallory', 'key_backend', [BAD, GOOD]);
  await give(5000, 'key_stolen', [BAD, GOOD]);
}

type Preference = typeof preferences.$inferSelect;
const isMallory = ({ rater }: Preference) => rater === 'user:mallory';
const isStolen = ({ created_by }: Preference) => created_by === 'key_stolen';

async function train(request: RoundRequest = {}) {
  const { id } = await requestRound(db, 'api', request);
  const notes: string[] = [];
  await runNextRound(connection, trainer, (_, { note }) => notes.push(note));
  const [round] = await db.select().from(rounds).where(eq(rounds.id, id));
  const used = await db
    .select()
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id))
    .where(and(eq(round_pairs.round_id, id), eq(round_pairs.left_out, false)));
  const getShare = (split: 'train' | 'held_out', isOne: (row: Preference) => boolean) => {
    const pairs = used.filter(({ round_pairs: pair }) => pair.split === split);
    return pairs.filter((row) => isOne(row.preferences)).length / pairs.length;
  };
  const getLargestShare = (split: 'train' | 'held_out') =>
    Math.max(
      ...new Set(used.map((row) => row.preferences.rater))
        .values()
        .map((name) => getShare(split, ({ rater }) => rater === name)),
    );
  return { round: round!, notes, getShare, getLargestShare };
}

function assertShares({ getShare, getLargestShare }: Awaited<ReturnType<typeof train>>): void {
  assert.ok(getLargestShare('train') <= 0.25, `${getLargestShare('train')}`);
  assert.ok(getLargestShare('held_out') <= 0.1, `${getLargestShare('held_out')}`);
  assert.ok(getShare('train', isStolen) <= 0.5, `${getShare('train', isStolen)}`);
  assert.ok(getShare('held_out', isStolen) <= 1 / 3, `${getShare('held_out', isStolen)}`);
}

test('a round of honest raters publishes a policy', async () => {
  await voteHonestly(30);
  const trained = await train({ epochs: 3 });
  assert.equal(trained.round.stage, 'active', trained.round.reason ?? '');
  assertShares(trained);
});

test('a round whose new pairs are only an attacker’s replays the others, and publishes nothing', async () => {
  const active = await getActivePolicyId(db);
  await flood();
  const preview = await previewRound(trainer, db);
  assert.match(preview.find(({ name }) => name === 'origins')!.text, /^\d+ raters, user:mallory has the most pairs/);
  const trained = await train();
  const { round, notes, getShare } = trained;
  assert.equal(round.stage, 'refused', round.reason ?? '');
  assert.match(round.reason!, /^gate: refused: .*agree/);
  assert.equal(await getActivePolicyId(db), active);
  assertShares(trained);
  assert.ok(getShare('train', isMallory) > 0.2 && round.pairs!.replay > 0);
  assert.ok(round.pairs!.left_out.rater_share > 0 && round.pairs!.left_out.over_limit > 10_000);

  const [mallory, ...others] = round.origins!.raters;
  assert.deepEqual([mallory!.tenant, mallory!.rater], ['default', 'user:mallory']);
  assert.ok(mallory!.capped > 0 && others.every(({ capped }) => capped === 0));
  assert.equal(mallory!.disagreement, null);
  const { trust, sources } = round.origins!;
  assert.deepEqual(trust, { rated: sources.comparison! - mallory!.pairs, feedback: sources.raw! + mallory!.pairs });
  const line = `left out ${mallory!.capped} pairs of one rater (user:mallory): TRAIN_RATER_SHARE allows 25% of the round`;
  assert.ok(notes.includes(line), notes.join('\n'));
  const events = await db
    .select()
    .from(round_events)
    .where(eq(round_events.round_id, round.id))
    .orderBy(asc(round_events.id));
  // Every tenant may read them.
  assert.ok(!JSON.stringify(events).includes('mallory'));
  assert.ok(events.some(({ message }) => message.includes('beyond the share of a rater')));
});

test('beside new honest pairs an attacker has no more than its share, and what exceeds it is used up', async () => {
  await voteHonestly(30);
  const trained = await train({ epochs: 3 });
  assertShares(trained);
  const { round } = trained;
  const ofRound = and(eq(round_pairs.round_id, round.id), eq(round_pairs.left_out, true));
  const { rater_share, source_share } = round.pairs!.left_out;
  assert.equal(await db.$count(round_pairs, ofRound), rater_share + source_share);
  const isUsed = and(
    eq(round_pairs.round_id, round.id),
    eq(round_pairs.split, 'train'),
    eq(round_pairs.left_out, false),
  );
  assert.equal(await db.$count(round_pairs, isUsed), round.pairs!.train);
});
