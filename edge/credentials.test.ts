import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRater, updateRater } from '../shared/access/raters.ts';
import { openTestDatabase } from '../testing/database.ts';
import { Credentials } from './credentials.ts';

const { db } = await openTestDatabase();
const owner = { tenant: 'default', created_by: 'test' };

test('a row is read again after a second, and when the clock was set back', async (context) => {
  const rater = await createRater(db, { name: 'Ann', skills: [], active: true }, owner);
  const credentials = new Credentials();
  const isActive = async () => (await credentials.findRater(db, rater.id))?.active;
  context.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  assert.equal(await isActive(), true);
  await updateRater(db, rater, { active: false }, 'test');
  context.mock.timers.tick(999);
  assert.equal(await isActive(), true);
  context.mock.timers.tick(1);
  assert.equal(await isActive(), false);
  await updateRater(db, rater, { active: true }, 'test');
  context.mock.timers.setTime(Date.now() - 300_000);
  assert.equal(await isActive(), true);
});

test('a slow read does not make the second longer', async (context) => {
  const rater = await createRater(db, { name: 'Ann', skills: [], active: true }, owner);
  const credentials = new Credentials();
  context.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const slow = credentials.findRater(db, rater.id);
  context.mock.timers.tick(600);
  assert.equal((await slow)?.active, true);
  await updateRater(db, rater, { active: false }, 'test');
  context.mock.timers.tick(400);
  assert.equal((await credentials.findRater(db, rater.id))?.active, false);
});

test('the clock of a session is that of Postgres, whatever the clock of the process is', async (context) => {
  const now = Date.now();
  context.mock.timers.enable({ apis: ['Date'], now: now - 600_000 });
  const secret = await new Credentials().getSessionSecret(db);
  assert.ok(Math.abs(secret.now.getTime() - now) < 60_000);
  assert.ok(secret.value.length >= 64);
});
