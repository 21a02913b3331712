import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { secrets } from '../database/schema.ts';
import { readSecret } from './secrets.ts';

const { db } = await openTestDatabase();

test('a migrated database has random secrets of its own, and a missing one is named', async () => {
  assert.match((await readSecret(db, 'session')).value, /^[0-9a-f-]{72}$/);
  await db.delete(secrets).where(eq(secrets.name, 'session'));
  await assert.rejects(readSecret(db, 'session'), /the row session is missing/);
});
