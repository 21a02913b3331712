import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { openTestDatabase } from '../../testing/database.ts';
import { startCanary } from '../canary/canaries.ts';
import { activations, canaries } from '../database/schema.ts';
import { moveCanary } from './canary-states.ts';
import {
  activatePolicy,
  activateSuccessor,
  findRollbackTarget,
  getActivePolicyId,
  registerPolicy,
  rollBackPolicy,
} from './registry.ts';

const { db } = await openTestDatabase();
for (const id of ['a', 'b', 'c', 'd']) await registerPolicy(db, { id, name: id, manifest: {} });

beforeEach(() => db.delete(activations));

const promote = (id: string) => activatePolicy(db, id, 'promoted');
/** `from`: the policy that whoever asks believes to be active. */
async function rollback(from?: string): Promise<string> {
  const target = await findRollbackTarget(db, from);
  await rollBackPolicy(db, target);
  return target.previous.policy_id;
}

test('a reward never becomes active', async () => {
  await registerPolicy(db, { id: 'rwd_a', kind: 'reward', name: 'a', manifest: {} });
  await assert.rejects(promote('rwd_a'), { code: 'reward_not_policy', message: /^rwd_a is a reward, not a policy/ });
  assert.equal(await getActivePolicyId(db), null);
});

test('rolling back twice goes back two policies and stops at the first', async () => {
  for (const id of ['a', 'b', 'c']) await promote(id);
  assert.equal(await rollback(), 'b');
  assert.equal(await rollback(), 'a');
  await assert.rejects(rollback(), { status: 409, message: 'a is the first policy; there is nothing to roll back to' });
  assert.equal(await getActivePolicyId(db), 'a');
});

test('a policy that was rolled back from is not restored by a later rollback', async () => {
  await promote('a');
  await promote('b');
  assert.equal(await rollback(), 'a');
  await promote('c');
  assert.equal(await rollback(), 'a');
  await assert.rejects(rollback(), { status: 409 });
});

test('a policy that is promoted again after a rollback counts as a new activation', async () => {
  for (const id of ['a', 'b', 'c']) await promote(id);
  assert.equal(await rollback(), 'b');
  await promote('c');
  await promote('c');
  await promote('d');
  assert.equal(await rollback(), 'c');
  assert.equal(await rollback(), 'b');
  assert.equal(await rollback(), 'a');
});

test('a rollback changes nothing if another activation was made since its target was found', async () => {
  await assert.rejects(rollback(), { status: 409, message: 'there is no active policy to roll back from' });
  for (const id of ['a', 'b']) await promote(id);
  const target = await findRollbackTarget(db);
  await promote('c');
  await assert.rejects(rollBackPolicy(db, target), { status: 409, code: 'activation_conflict', retry: false });
  assert.equal(await getActivePolicyId(db), 'c');
  assert.equal(await db.$count(activations), 3);
});

test('a rollback from a policy that is active no longer changes nothing', async () => {
  for (const id of ['a', 'b', 'c']) await promote(id);
  const target = await findRollbackTarget(db, 'c');
  assert.equal(await rollback('c'), 'b');
  const conflict = {
    status: 409,
    code: 'activation_conflict',
    retry: false,
    message: /^b is active, not c; nothing was changed/,
  };
  await assert.rejects(rollback('c'), conflict);
  await assert.rejects(rollBackPolicy(db, target), conflict);
  assert.equal(await getActivePolicyId(db), 'b');
  assert.equal(await rollback('b'), 'a');
  // Rather than that there is nothing before it.
  await assert.rejects(rollback('b'), { code: 'activation_conflict', message: /^a is active, not b/ });
  assert.equal(await db.$count(activations), 5);
});

test('a candidate is promoted while its canary runs only, if that is what was asked for', async () => {
  await promote('a');
  const start = () =>
    db.transaction((transaction) => startCanary(transaction, { policyId: 'b', share: 0.1, actor: 'key_1' }));
  const conflict = { status: 409, code: 'activation_conflict', param: 'canary', retry: false };
  const { id: ended } = await start();
  await assert.rejects(activatePolicy(db, 'c', 'promoted', { canary: ended }), conflict);
  await moveCanary(db, ended, 'running', 'rolled_back', { actor: 'canary', reason: 'errors' });
  await assert.rejects(activatePolicy(db, 'b', 'promoted', { canary: ended }), {
    ...conflict,
    message: `${ended} is not a running canary of b: a is active, and nothing was changed; promote without canary if that is still wanted`,
  });
  const { id: running } = await start();
  await assert.rejects(activatePolicy(db, 'b', 'promoted', { canary: ended }), conflict);
  assert.equal(await getActivePolicyId(db), 'a');
  await activatePolicy(db, 'b', 'promoted', { canary: running });
  assert.equal(await getActivePolicyId(db), 'b');
  await db.delete(canaries);
});

test('of many rollbacks at once one takes effect, and the others are told', async () => {
  for (const id of ['a', 'b', 'c']) await promote(id);
  const target = await findRollbackTarget(db);
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => rollBackPolicy(db, target)));
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  assert.equal(await getActivePolicyId(db), 'b');
  assert.equal(await db.$count(activations), 4);
});

test('the policy of a round replaces its parent only while that is active, and only once', async () => {
  const activate = () => activateSuccessor(db, 'b', 'a', 'published');
  await promote('c');
  assert.equal(await activate(), false);
  await promote('a');
  assert.equal(await activate(), true);
  assert.equal(await activate(), true);
  assert.equal(await rollback(), 'a');
  assert.equal(await activate(), false);
  assert.equal(await getActivePolicyId(db), 'a');
  assert.equal(await db.$count(activations), 4);
});

test('of the policy of a round and a promotion at the same moment, the promotion is active in the end', async () => {
  for (let at = 0; at < 20; at++) {
    await db.delete(activations);
    await promote('a');
    const round = () => activateSuccessor(db, 'b', 'a', 'published');
    await Promise.all(at % 2 ? [round(), promote('c')] : [promote('c'), round()]);
    assert.equal(await getActivePolicyId(db), 'c');
  }
});

test('an activation in a transaction that fails leaves the active policy', async () => {
  await promote('a');
  const failed = db.transaction(async (transaction) => {
    await activatePolicy(transaction, 'b', 'promoted');
    throw new Error('the response could not be stored');
  });
  await assert.rejects(failed, /could not be stored/);
  assert.equal(await getActivePolicyId(db), 'a');
});
