// Several machines (one ATTUNE_HOME each) with one Postgres and one policy store on an S3 server: a policy published on one
// machine is served by the others.
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
import { openEdgeProcesses } from '../testing/edge-processes.ts';
import type { Json } from '../testing/edge-server.ts';
import { startS3Server } from '../testing/s3-server.ts';
import { writeTinyCheckpoint } from '../testing/tiny-checkpoint.ts';
import { waitUntil } from '../testing/wait-until.ts';

describe('one policy store for several machines', async () => {
  const server = await startS3Server();
  if ('missing' in server) {
    test('needs an S3 server', { skip: server.missing });
    return;
  }
  after(server.close);
  const homes = await mkdtemp(path.join(tmpdir(), 'attune-homes-'));
  after(() => rm(homes, { recursive: true, force: true }));
  const processes = await openEdgeProcesses();
  const { db } = processes.connection;

  const { location } = server;
  const machine = (name: string) => ({
    ATTUNE_HOME: path.join(homes, name),
    POLICY_STORE: `s3://${location.bucket}/attune`,
    AWS_ENDPOINT_URL: location.endpoint,
    AWS_REGION: location.region,
    AWS_ACCESS_KEY_ID: location.accessKeyId,
    AWS_SECRET_ACCESS_KEY: location.secretAccessKey,
  });
  const trainer = await openLocalStore(readSettings(machine('trainer')), db);

  async function importTiny(localStore: LocalStore, seed: number): Promise<string> {
    const folder = await localStore.createStaging();
    try {
      await writeTinyCheckpoint(folder, { seed });
      return await importPolicy(db, localStore, folder, `tiny ${seed}`);
    } finally {
      await localStore.discardStaging(folder);
    }
  }
  const request = async (url: string, target: string, json?: object): Promise<Json> => {
    const init = json && {
      method: 'POST',
      body: JSON.stringify(json),
      headers: { 'content-type': 'application/json' },
    };
    const response = await fetch(url + target, init);
    const body = await response.json();
    assert.equal(response.status, 200, JSON.stringify(body));
    return body;
  };

  test('a policy published on one machine is served by the others after the swap', async () => {
    const first = await importTiny(trainer, 1);
    await activatePolicy(db, first, 'test');
    const edges = [await processes.start(machine('one')), await processes.start(machine('two'))];
    const bothServe = (id: string) =>
      Promise.all(edges.map(({ url }) => waitUntil(async () => (await request(url, '/health')).policy === id, 15_000)));
    await bothServe(first);

    const second = await importTiny(trainer, 2);
    await activatePolicy(db, second, 'test');
    await bothServe(second);
    const texts = await Promise.all(
      edges.map(async ({ url }) => {
        const completion = await request(url, '/v1/completions', { prompt: 'Once', max_tokens: 8, seed: 5 });
        assert.equal(completion.model, second);
        return completion.choices[0].text;
      }),
    );
    assert.equal(texts[0], texts[1]);
    for (const name of ['one', 'two'])
      assert.deepEqual((await readdir(path.join(homes, name, 'policies'))).sort(), [first, second]);
  });

  test('a policy that could not be uploaded is neither registered nor in the local store', async () => {
    const before = await db.select({ id: policies.id }).from(policies);
    const root = path.join(homes, 'cut-off');
    const unreachable = openS3Store({ ...location, bucket: 'nowhere' }, fetchByNodeHttp);
    const localStore = await openLocalStoreAt(root, unreachable);
    await assert.rejects(importTiny(localStore, 3), { message: /has no bucket nowhere/ });
    assert.deepEqual(await db.select({ id: policies.id }).from(policies), before);
    assert.deepEqual(await readdir(root), []);
  });

  test('an edge with wrong S3 keys fails at startup and names them', async () => {
    await assert.rejects(processes.start({ ...machine('three'), AWS_SECRET_ACCESS_KEY: 'wrong' }), {
      message: /AWS_SECRET_ACCESS_KEY: wrong secret for key key; use the secret of that key/,
    });
    assert.ok(!existsSync(path.join(homes, 'three', 'policies')));
  });
});
