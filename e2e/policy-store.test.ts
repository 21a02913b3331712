// Edges on machines of their own (an ATTUNE_HOME each), with one Postgres and one policy store on a real S3 server: what
// is published on one machine is served by the others.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { policies } from '../shared/database/schema.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import { readSettings } from '../shared/settings.ts';
import { type LocalStore, openLocalStore, openLocalStoreAt } from '../shared/store/local-store.ts';
import { fetchByNodeHttp } from '../shared/store/node-http.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { openS3Store } from '../shared/store/s3.ts';
import { openFleet, until } from '../testing/edge-processes.ts';
import type { Json } from '../testing/edge-server.ts';
import { startS3Server } from '../testing/s3-server.ts';
import { writeTinyCheckpoint } from '../testing/tiny-checkpoint.ts';

describe('one policy store for several machines', async () => {
  const server = await startS3Server();
  if ('missing' in server) {
    test('needs a tool', { skip: server.missing });
    return;
  }
  after(server.close);
  const homes = await mkdtemp(path.join(tmpdir(), 'attune-homes-'));
  after(() => rm(homes, { recursive: true, force: true }));
  const fleet = await openFleet();
  const { db } = fleet.connection;

  const { location: place } = server;
  const machine = (name: string) => ({
    ATTUNE_HOME: path.join(homes, name),
    POLICY_STORE: `s3://${place.bucket}/attune`,
    AWS_ENDPOINT_URL: place.endpoint,
    AWS_REGION: place.region,
    AWS_ACCESS_KEY_ID: place.accessKeyId,
    AWS_SECRET_ACCESS_KEY: place.secretAccessKey,
  });
  const trainer = await openLocalStore(readSettings(machine('trainer')));

  async function importTiny(shelf: LocalStore, seed: number): Promise<string> {
    const folder = await shelf.createStaging();
    try {
      await writeTinyCheckpoint(folder, { seed });
      return await importPolicy(db, shelf, folder, `tiny ${seed}`);
    } finally {
      await shelf.discard(folder);
    }
  }
  const ask = async (url: string, target: string, body?: object): Promise<Json> => {
    const init = body && {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    };
    const response = await fetch(url + target, init);
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };

  test('a policy published on one machine is served by the others after the swap', async () => {
    const first = await importTiny(trainer, 1);
    await activatePolicy(db, first, 'test');
    const edges = [await fleet.launch(machine('one')), await fleet.launch(machine('two'))];
    const bothServe = (id: string) =>
      Promise.all(edges.map(({ url }) => until(15_000, async () => (await ask(url, '/health')).policy === id)));
    await bothServe(first);

    const second = await importTiny(trainer, 2);
    await activatePolicy(db, second, 'test');
    await bothServe(second);
    const texts = await Promise.all(
      edges.map(async ({ url }) => {
        const answer = await ask(url, '/v1/completions', { prompt: 'Once', max_tokens: 8, seed: 5 });
        assert.equal(answer.model, second);
        return answer.choices[0].text;
      }),
    );
    assert.equal(texts[0], texts[1]);
    for (const name of ['one', 'two'])
      assert.deepEqual((await readdir(path.join(homes, name, 'policies'))).sort(), [first, second]);
  });

  test('a policy that did not reach the store is in no list and on no shelf', async () => {
    const before = await db.select({ id: policies.id }).from(policies);
    const root = path.join(homes, 'cut-off');
    const away = openS3Store({ ...place, bucket: 'nowhere' }, fetchByNodeHttp);
    const shelf = await openLocalStoreAt(root, away);
    await assert.rejects(importTiny(shelf, 3), { message: /has no bucket nowhere/ });
    assert.deepEqual(await db.select({ id: policies.id }).from(policies), before);
    assert.deepEqual(await readdir(root), []);
  });

  test('an edge whose keys are wrong ends at once and says which', async () => {
    await assert.rejects(fleet.launch({ ...machine('three'), AWS_SECRET_ACCESS_KEY: 'wrong' }), {
      message: /attune: AWS_SECRET_ACCESS_KEY: it is not the secret of key key; use the secret of that key/,
    });
    assert.ok(!existsSync(path.join(homes, 'three', 'policies')));
  });
});
