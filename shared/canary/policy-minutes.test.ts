import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asc } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { policy_minutes } from '../database/schema.ts';
import { addPolicyMinutes } from './policy-minutes.ts';

const { db } = await openTestDatabase();
const minute = new Date(Math.floor(Date.now() / 60_000) * 60_000);
const earlier = new Date(minute.getTime() - 60_000);

test('what several processes counted is added up, in whichever order each of them has its rows', async () => {
  const rows = [
    { policy_id: 'pol_a', minute, requests: 2, errors: 1, repetition: 0.5 },
    { policy_id: 'pol_b', minute, requests: 3, first_token_log: -0.25 },
    { policy_id: 'pol_a', minute: earlier, requests: 1 },
  ];
  await addPolicyMinutes(db, []);
  await Promise.all(
    Array.from({ length: 20 }, (_, at) => addPolicyMinutes(db, at % 2 === 0 ? rows : rows.toReversed())),
  );
  const stored = await db
    .select()
    .from(policy_minutes)
    .orderBy(asc(policy_minutes.minute), asc(policy_minutes.policy_id));
  assert.deepEqual(
    stored.map(({ policy_id, requests, errors, repetition, first_token_log }) => [
      policy_id,
      requests,
      errors,
      repetition,
      first_token_log,
    ]),
    [
      ['pol_a', 20, 0, 0, 0],
      ['pol_a', 40, 20, 10, 0],
      ['pol_b', 60, 0, 0, -5],
    ],
  );
});

test('minutes are removed after thirty days', async () => {
  const old = new Date(minute.getTime() - 31 * 86_400_000);
  await addPolicyMinutes(db, [{ policy_id: 'pol_c', minute: old, requests: 1 }]);
  await addPolicyMinutes(db, [{ policy_id: 'pol_a', minute, requests: 1 }]);
  const ids = (await db.select().from(policy_minutes)).map((row) => row.policy_id);
  assert.deepEqual(ids.sort(), ['pol_a', 'pol_a', 'pol_b']);
});
