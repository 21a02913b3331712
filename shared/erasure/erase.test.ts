import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { eq, inArray, sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { listTablesWith, storeComparison, storeCompletion, storePreference } from '../../testing/stored-rows.ts';
import {
  audit_events,
  comparisons,
  completions,
  type ErasureSubject,
  erasures,
  feedback,
  generations,
  idempotency_keys,
  invitations,
  new_pairs,
  preference_counts,
  preferences,
  raters,
  round_pairs,
  rounds,
  voters,
} from '../database/schema.ts';
import { sha256 } from '../digest.ts';
import { newId } from '../id.ts';
import { countPreferences } from '../preferences/store.ts';
import { activatePolicy, registerPolicy } from '../store/registry.ts';
import { describeErasure } from './describe.ts';
import { erase } from './erase.ts';
import { listErasedAncestors } from './learners.ts';
import { findSubject } from './subject.ts';

const { db } = await openTestDatabase();
const CANARY = 'canary of a person';

const run = (kind: ErasureSubject, value: string, tenant = 'default') =>
  db.transaction(async (transaction) =>
    erase(transaction, await findSubject(transaction, kind, value, tenant), 'key_x'),
  );

beforeEach(async () => {
  await db.execute(sql`truncate ${completions}, ${generations}, ${comparisons}, ${preferences}, ${feedback}, ${new_pairs},
    ${preference_counts}, ${voters}, ${idempotency_keys}, ${round_pairs}, ${raters}, ${invitations} cascade`);
});

test('an end user is erased with completions, comparisons, the votes on them, and those of the user', async () => {
  const chat = await storeCompletion(db, CANARY, { user: 'canary ann' }, 2);
  const shown = await storeComparison(db, CANARY, { user: 'canary ann' });
  await storePreference(db, CANARY, { source: 'comparison', comparison_id: shown.id, rater: 'bob' });
  await storePreference(db, CANARY, { source: 'generations', chosen_generation_id: chat[1]!, rater: 'bob' });
  await storePreference(db, CANARY, { rater: 'user:canary ann' });
  const others = [
    await storePreference(db, 'other', { rater: 'bob', source: 'comparison', choice: 'tie' }),
    await storePreference(db, 'other', { rater: 'user:canary ann', tenant: 'another' }),
  ];
  const otherChat = await storeCompletion(db, 'other', { user: 'canary ann', tenant: 'another' });
  const response = { caller: 'x', operation: 'y', request_hash: 'z' };
  await db.insert(idempotency_keys).values([
    { ...response, key: '1', response: { text: CANARY }, resource_ids: [shown.id] },
    { ...response, key: '2', response: { text: CANARY }, resource_ids: ['x', chat[0]!] },
    { ...response, key: '3', response: { text: 'other' }, resource_ids: otherChat },
  ]);

  const row = await run('user', 'canary ann');
  assert.deepEqual(row.counts, { completions: 2, comparisons: 1, preferences: 3, feedback: 0 });
  assert.deepEqual([row.subject, row.subject_hash, row.tenant], ['user', sha256('canary ann'), 'default']);
  assert.deepEqual(await listTablesWith(db, CANARY), []);
  const tombstones = await db.select().from(completions).where(eq(completions.id, chat[0]!));
  const { prompt, prompt_token_ids, sampling, user, metadata, policy_id, erased_at } = tombstones[0]!;
  assert.deepEqual([prompt, prompt_token_ids, sampling, user, metadata, policy_id], ['', [], {}, null, null, 'pol_1']);
  assert.ok(erased_at);
  const choices = await db
    .select()
    .from(generations)
    .where(inArray(generations.id, [...chat, ...shown.sides]));
  assert.equal(choices.length, 4);
  for (const { text, token_ids, logps } of choices) assert.deepEqual([text, token_ids, logps], ['', [], []]);
  assert.deepEqual(
    (await db.select().from(idempotency_keys)).map(({ key }) => key),
    ['3'],
  );
  const kept = await db.select().from(preferences).where(inArray(preferences.id, others));
  assert.ok(kept.every((preference) => preference.prompt === 'other' && preference.erased_at === null));
  const { total, by_choice, by_source, raters: names, pairs_not_yet_seen } = await countPreferences(db, 'default');
  assert.deepEqual([total, names, pairs_not_yet_seen], [1, 1, 0]);
  assert.deepEqual(
    [by_choice, by_source],
    [
      { a: 0, tie: 1 },
      { comparison: 1, generations: 0, raw: 0 },
    ],
  );
  assert.equal((await countPreferences(db, 'another')).total, 1);

  const [event] = await db.select().from(audit_events).where(eq(audit_events.target, row.id));
  assert.deepEqual([event?.actor, event?.action], ['key_x', 'erasure.created']);
  assert.doesNotMatch(JSON.stringify(event), /canary/);
  await assert.rejects(run('user', 'canary ann'), { status: 404, code: 'nothing_to_erase' });
});

test('a rater is erased with name, invitations and all votes, also two on one comparison by different raters', async () => {
  const rater = newId('rater_');
  const owner = { tenant: 'shop', created_by: 'key_y' };
  await db.insert(raters).values({ id: rater, name: CANARY, skills: [CANARY], ...owner });
  const expires_at = new Date();
  await db.insert(invitations).values({ id: 'inv_1', secret_hash: 'x', rater_id: rater, expires_at, ...owner });
  const { id } = await storeComparison(db, 'shown to both', owner);
  const vote = { source: 'comparison', comparison_id: id, tenant: 'shop' } as const;
  const own = await storePreference(db, CANARY, { ...vote, rater });
  const other = await storePreference(db, 'of another', { ...vote, rater: 'rater_other' });
  const origins = { sources: {}, trust: {}, rater_count: 2, capped_keys: [] };
  const entry = { tenant: 'shop', pairs: 1, capped: 0, disagreement: null };
  const round = newId('round_');
  const names = [
    { rater, ...entry },
    { rater: 'rater_other', ...entry },
  ];
  await db.insert(rounds).values({ id: round, trigger: 'api', settings: {}, origins: { ...origins, raters: names } });

  const row = await run('rater', rater);
  assert.deepEqual([row.tenant, row.counts], ['shop', { completions: 0, comparisons: 0, preferences: 1, feedback: 0 }]);
  assert.deepEqual(await listTablesWith(db, CANARY), []);
  const [found] = await db.select().from(raters);
  assert.deepEqual([found!.name, found!.skills, found!.active], ['', [], false]);
  assert.deepEqual([await db.$count(invitations), await db.$count(voters)], [0, 1]);
  const [blanked] = await db.select().from(preferences).where(eq(preferences.id, own));
  assert.deepEqual([blanked!.rater, blanked!.choice, blanked!.content_hash], [`erased:${own}`, 'a', own]);
  const [kept] = await db.select().from(preferences).where(eq(preferences.id, other));
  assert.deepEqual([kept!.rater, kept!.prompt], ['rater_other', 'of another']);
  const [report] = await db.select().from(rounds).where(eq(rounds.id, round));
  assert.deepEqual(
    report!.origins!.raters.map((each) => each.rater),
    ['erased', 'rater_other'],
  );

  await run('comparison', id);
  const gone = await db.select().from(preferences).where(eq(preferences.comparison_id, id));
  assert.ok(gone.every(({ erased_at, rater: name }) => erased_at !== null && name.startsWith('erased:pref_')));
  await assert.rejects(run('rater', rater), { code: 'nothing_to_erase' });
});

test('a rater is erased with what was stored in the sessions of that rater, also with the responses', async () => {
  const rater = newId('rater_');
  const own = { created_by: rater, tenant: 'shop' };
  await db.insert(raters).values({ id: rater, name: 'x', skills: [], tenant: 'shop', created_by: 'key_y' });
  const [chat] = await storeCompletion(db, CANARY, own);
  const shown = await storeComparison(db, CANARY, own);
  await storePreference(db, CANARY, { ...own, rater, source: 'comparison', comparison_id: shown.id });
  const response = { operation: 'y', request_hash: 'z', response: { text: CANARY } };
  await db.insert(idempotency_keys).values([
    { ...response, caller: rater, key: '1', resource_ids: [chat!] },
    // Of a generation that was not stored.
    { ...response, caller: rater, key: '2', resource_ids: [newId('chatcmpl-')] },
    { ...response, caller: 'key_y', key: '3', response: { text: 'other' }, resource_ids: [] },
  ]);

  assert.deepEqual((await run('rater', rater)).counts, { completions: 2, comparisons: 1, preferences: 1, feedback: 0 });
  assert.deepEqual(await listTablesWith(db, CANARY), []);
  assert.deepEqual(
    (await db.select().from(idempotency_keys)).map(({ key }) => key),
    ['3'],
  );
});

test('a rater is erased with the stored responses that have the name, also if the rater has stored nothing', async () => {
  const [rater, other] = [newId('rater_'), newId('rater_')];
  await db.insert(raters).values({ id: rater, name: CANARY, skills: [], created_by: 'key_y' });
  const response = { caller: 'key_y', operation: 'POST /v1/raters', request_hash: 'z', response: { name: CANARY } };
  await db.insert(idempotency_keys).values([
    { ...response, key: '1', resource_ids: [rater] },
    { ...response, key: '2', resource_ids: [other], response: { name: 'other' } },
  ]);
  await run('rater', rater);
  assert.deepEqual(await listTablesWith(db, CANARY), []);
  assert.equal(await db.$count(idempotency_keys), 1);
});

test('whoever only votes under a name is erased with the votes, and not with what a key or a server of that name stored', async () => {
  await storeCompletion(db, 'other', { created_by: 'anonymous' });
  await storePreference(db, 'other', { rater: 'bob', created_by: 'anonymous' });
  await storePreference(db, CANARY, { rater: 'anonymous', created_by: 'anonymous' });
  assert.deepEqual((await run('rater', 'anonymous')).counts, {
    completions: 0,
    comparisons: 0,
    preferences: 1,
    feedback: 0,
  });
  assert.deepEqual(await listTablesWith(db, CANARY), []);
});

test('a key is erased with all that was stored with it, and nothing else of its tenant', async () => {
  await storeCompletion(db, CANARY, { created_by: 'key_a' });
  await storeComparison(db, CANARY, { created_by: 'key_a' });
  await storePreference(db, CANARY, { created_by: 'key_a', source: 'import' });
  await storePreference(db, 'other', { created_by: 'key_b' });
  assert.deepEqual((await run('key', 'key_a')).counts, { completions: 2, comparisons: 1, preferences: 1, feedback: 0 });
  assert.deepEqual(await listTablesWith(db, CANARY), []);
  assert.equal((await countPreferences(db, 'default')).total, 1);
});

test('a generation is erased with its completion, the comparison that shows it, the other side, and all votes', async () => {
  const a = await storeCompletion(db, CANARY, { kind: 'comparison' });
  const b = await storeCompletion(db, CANARY, { kind: 'comparison' });
  const id = newId('cmp_');
  const sides = { a_generation_id: a[0]!, b_generation_id: b[0]! };
  await db.insert(comparisons).values({ id, prompt: CANARY, ...sides, swapped: true, metadata: { text: CANARY } });
  await storePreference(db, CANARY, { source: 'comparison', comparison_id: id });
  await storePreference(db, CANARY, { source: 'generations', rejected_generation_id: b[0]! });
  assert.deepEqual((await run('generation', a[0]!)).counts, {
    completions: 2,
    comparisons: 1,
    preferences: 2,
    feedback: 0,
  });
  assert.deepEqual(await listTablesWith(db, CANARY), []);
});

test('an edit is erased with its vote, whose comment and tags go too', async () => {
  const { id, sides } = await storeComparison(db, 'other');
  const vote = await storePreference(db, 'other', {
    source: 'comparison',
    comparison_id: id,
    chosen_generation_id: sides[0]!,
    rejected_generation_id: sides[1]!,
    comment: CANARY,
    tags: [CANARY],
  });
  const edit = await storePreference(db, CANARY, { source: 'demonstration', edit_of: vote });
  assert.equal((await run('preference', vote)).counts.preferences, 2);
  assert.deepEqual(await listTablesWith(db, 'canary'), []);
  const { comment, tags, erased_at } = (await db.select().from(preferences).where(eq(preferences.id, edit)))[0]!;
  assert.deepEqual([comment, tags, erased_at !== null], [null, [], true]);
});

test('feedback is erased with its generation, its rater and its key, and its demonstration with the pair', async () => {
  const say = async (fields: Partial<typeof feedback.$inferInsert> = {}, text = 'other') => {
    const [generation] = await storeCompletion(db, text);
    const demonstrated = { rejected_generation_id: generation!, rater: fields.rater ?? 'bob' };
    const pair = await storePreference(db, 'other', { source: 'demonstration', ...demonstrated });
    const row = { id: newId('fb_'), generation_id: generation!, rater: 'bob', preference_id: pair };
    await db.insert(feedback).values({ ...row, comment: CANARY, tags: [CANARY], demonstration: CANARY, ...fields });
    return { id: row.id, generation: generation!, pair };
  };
  const find = async (id: string) => (await db.select().from(feedback).where(eq(feedback.id, id)))[0]!;
  const blank = { comment: null, tags: [], demonstration: null, preference_id: null };

  const first = await say({ thumb: 1, score: 0.5 });
  const counts = { completions: 1, comparisons: 0, preferences: 1, feedback: 1 };
  assert.deepEqual((await run('generation', first.generation)).counts, counts);
  const { comment, tags, demonstration, preference_id, rater, thumb } = await find(first.id);
  assert.deepEqual({ comment, tags, demonstration, preference_id }, blank);
  assert.deepEqual([rater, thumb], [`erased:${first.id}`, 1]);

  const named = await say({ rater: 'user:ann' });
  const mine = await say({ created_by: 'key_b' });
  assert.equal((await run('user', 'ann')).counts.feedback, 1);
  assert.equal((await run('key', 'key_b')).counts.feedback, 1);
  assert.deepEqual([(await find(named.id)).comment, (await find(mine.id)).comment], [null, null]);

  const last = await say();
  assert.deepEqual((await run('preference', last.pair)).counts, { ...counts, completions: 0, feedback: 0 });
  const kept = await find(last.id);
  assert.deepEqual([kept.demonstration, kept.preference_id, kept.comment], [null, null, CANARY]);
  await run('rater', 'bob');
  assert.deepEqual(await listTablesWith(db, 'canary'), []);
});

test('an erasure of nothing is a 404, and leaves no row', async () => {
  const before = await db.$count(erasures);
  const unknown: [ErasureSubject, string][] = [
    ['user', 'nobody'],
    ['rater', 'rater_none'],
    ['key', 'key_none'],
    ['generation', 'chatcmpl-none'],
    ['preference', 'pref_none'],
  ];
  for (const [kind, value] of unknown)
    await assert.rejects(run(kind, value), {
      status: 404,
      param: kind,
      message: new RegExp(`^${kind}: nothing is stored of the ${kind} "${value}", or all of it was erased before;`),
    });
  assert.equal(await db.$count(erasures), before);
});

test('ten thousand rows are erased in one transaction under a short statement timeout', async () => {
  const ids = Array.from({ length: 10_000 }, () => newId('pref_'));
  const row = { source: 'raw', choice: 'a', rater: 'many', prompt: CANARY, chosen: 'x', rejected: 'y' } as const;
  await db.insert(preferences).values(ids.slice(0, 5000).map((id) => ({ id, content_hash: id, ...row })));
  await db.insert(preferences).values(ids.slice(5000).map((id) => ({ id, content_hash: id, ...row })));
  const erased = await db.transaction(async (transaction) => {
    await transaction.execute(sql`set local statement_timeout = 1`);
    return erase(transaction, { kind: 'rater', value: 'many', tenant: 'default' }, 'key_x');
  });
  assert.equal(erased.counts.preferences, 10_000);
  assert.deepEqual([await listTablesWith(db, CANARY), await db.$count(new_pairs)], [[], 0]);
});

test('an erasure names the policies that learned, now and later, and whether the active one has', async () => {
  const publish = async (policy: string, parent: string | null, round: string | null) => {
    if (round) await db.insert(rounds).values({ id: round, trigger: 'api', settings: {}, policy_id: policy });
    await registerPolicy(db, { id: policy, name: 'x', manifest: {}, parent_id: parent, round_id: round });
  };
  const learn = (round_id: string, preference_id: string, split: 'train' | 'held_out' = 'train') =>
    db.insert(round_pairs).values({ round_id, preference_id, split, replay: false });
  await publish('pol_root', null, null);
  await publish('pol_first', 'pol_root', 'round_first');
  await publish('pol_second', 'pol_first', 'round_second');
  await activatePolicy(db, 'pol_second', 'test');
  const [trained, measured] = [await storePreference(db, CANARY), await storePreference(db, 'x', { rater: 'bob' })];
  await learn('round_first', trained);
  await learn('round_second', measured, 'held_out');
  const describe = async (row: Awaited<ReturnType<typeof run>>) => {
    const [{ policies, activePolicyLearned, advice } = {} as never] = await describeErasure(db, [row]);
    return { policies, activePolicyLearned, advice };
  };
  const first = await run('rater', 'ann');
  const { advice, ...found } = await describe(first);
  assert.deepEqual(found, { policies: [{ id: 'pol_first', relation: 'ancestor' }], activePolicyLearned: true });
  assert.match(advice!, /^pol_second is active and has learned from what was erased; `attune train --without-erased`/);
  assert.deepEqual(await describe(await run('rater', 'bob')), {
    policies: [],
    activePolicyLearned: false,
    advice: null,
  });
  assert.deepEqual([...(await listErasedAncestors(db, 'pol_second'))], ['pol_first']);

  // A round that had it in memory publishes later; so does one that distils a reward that learned it.
  await publish('pol_third', 'pol_second', 'round_third');
  await learn('round_third', trained);
  await db
    .insert(rounds)
    .values({ id: 'round_reward', trigger: 'api', settings: {}, method: 'reward', policy_id: 'rwd_1' });
  await learn('round_reward', trained);
  await publish('pol_fourth', 'pol_root', 'round_fourth');
  await db
    .update(rounds)
    .set({ settings: { reward: 'rwd_1' } })
    .where(eq(rounds.id, 'round_fourth'));
  assert.deepEqual((await describe(first)).policies, [
    { id: 'pol_first', relation: 'ancestor' },
    { id: 'pol_fourth', relation: 'other' },
    { id: 'pol_third', relation: 'other' },
    { id: 'rwd_1', relation: 'other' },
  ]);
  // What was unlearned is new again, but not what was erased.
  await activatePolicy(db, 'pol_root', 'test');
  assert.equal(await db.$count(new_pairs), 0);
  assert.equal((await describe(first)).activePolicyLearned, false);
  assert.equal((await listErasedAncestors(db, 'pol_root')).size, 0);
});
