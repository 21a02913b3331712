import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { openTestDatabase } from '../../testing/database.ts';
import { activations } from '../database/schema.ts';
import { activatePolicy, getActivePolicyId, registerPolicy, rollBackPolicy } from './registry.ts';

const { db } = await openTestDatabase();
for (const id of ['a', 'b', 'c', 'd']) await registerPolicy(db, { id, name: id, manifest: {} });

beforeEach(() => db.delete(activations));

const promote = (id: string) => activatePolicy(db, id, 'promoted');
const rollback = () => rollBackPolicy(db, async () => {});

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

test('a rollback whose check fails leaves the active policy', async () => {
  await assert.rejects(rollback(), { status: 409, message: 'there is no active policy to roll back from' });
  await promote('a');
  await promote('b');
  await assert.rejects(
    rollBackPolicy(db, async (id) => {
      throw new Error(`${id} cannot be loaded`);
    }),
    { message: 'a cannot be loaded' },
  );
  assert.equal(await getActivePolicyId(db), 'b');
  const rows = await db.select().from(activations);
  assert.deepEqual(
    rows.map(({ reason }) => reason),
    ['promoted', 'promoted'],
  );
});
