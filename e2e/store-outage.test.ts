// A round whose policy store is unreachable stays running and is resumed when the store is back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { rounds } from '../shared/database/schema.ts';
import { AttuneError } from '../shared/error.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { setStage } from '../testing/edge-server.ts';
import { runNextRound } from '../trainer/main.ts';

const stage = await setStage({ LEARNING_RATE: '0.003', TRAIN_THREADS: '1', TRAIN_MEMORY: String(2 ** 30) });
const { connection, settings, shelf } = stage;

test('a round whose store is away goes on when it is back', { timeout: 120_000 }, async () => {
  for (let at = 0; at < 48; at++) {
    const json = { prompt: `Say ${at}:`, chosen: ' yes yes', rejected: ' no no' };
    assert.equal((await stage.request('/v1/preferences', { json })).status, 200);
  }
  const { id } = await requestRound(connection.db, 'api', {});
  const round = async () => (await connection.db.select().from(rounds).where(eq(rounds.id, id)))[0]!;
  const away = new AttuneError('the store is away', { status: 503, code: 'policy_store_unreachable' });
  const awayStore = { ...shelf, folderOf: () => Promise.reject(away) };
  await assert.rejects(
    runNextRound(connection, { settings, store: awayStore }, () => {}),
    away,
  );
  assert.equal((await round()).status, 'running');
  assert.equal(await runNextRound(connection, { settings, store: shelf }, () => {}), true);
  const { status, reason } = await round();
  assert.equal(status, 'succeeded', reason ?? '');
});
