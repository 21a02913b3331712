// A round whose policy store is unreachable keeps its state and resumes when the store is back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { rounds } from '../shared/database/schema.ts';
import { AttuneError } from '../shared/error.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { runNextRound } from '../trainer/main.ts';

const server = await startEdgeServer({ LEARNING_RATE: '0.003', TRAIN_THREADS: '1', TRAIN_MEMORY: String(2 ** 30) });
const { connection, settings, localStore } = server;

test('a round resumes when an unreachable policy store is back', { timeout: 120_000 }, async () => {
  for (let at = 0; at < 48; at++) {
    const json = { prompt: `Say ${at}:`, chosen: ' yes yes', rejected: ' no no' };
    assert.equal((await server.request('/v1/preferences', { json })).status, 200);
  }
  const { id } = await requestRound(connection.db, 'api', {});
  const round = async () => (await connection.db.select().from(rounds).where(eq(rounds.id, id)))[0]!;
  const unreachable = new AttuneError('the store is unreachable', { status: 503, code: 'policy_store_unreachable' });
  const unreachableStore = { ...localStore, getFolder: () => Promise.reject(unreachable) };
  await assert.rejects(
    runNextRound(connection, { settings, store: unreachableStore }, () => {}),
    unreachable,
  );
  assert.equal((await round()).status, 'running');
  assert.equal(await runNextRound(connection, { settings, store: localStore }, () => {}), true);
  const { status, reason } = await round();
  assert.equal(status, 'succeeded', reason ?? '');
});
