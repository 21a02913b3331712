// Every model family end to end: import, serving, a training round, publishing, serving the result.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { FAMILY_NAMES } from '../shared/model/architecture.ts';
import { readCheckpoint, readJson } from '../shared/model/checkpoint.ts';
import { readManifest } from '../shared/package/files.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { writeTinyCheckpoint } from '../testing/tiny-checkpoint.ts';
import { waitForRound } from '../testing/wait-for-round.ts';
import { startTrainer } from '../trainer/main.ts';

const server = await startEdgeServer({
  LEARNING_RATE: '0.003',
  TRAIN_THREADS: '1',
  BATCH_PAIRS: '8',
  // Only requested rounds run: a scheduled one between would be the parent of the next.
  TRAIN_SCHEDULE: '0 0 1 1 *',
});
const trainer = await startTrainer(server.settings, server.databaseUrl, () => {});
after(() => trainer.close());

/** Requests completions until this policy is served. */
async function waitUntilServed(policy: string): Promise<string> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const json = { prompt: 'Once', max_tokens: 3, temperature: 0 };
    const { status, body } = await server.request('/v1/completions', { json });
    assert.equal(status, 200);
    if (body.model === policy) return body.choices[0].text;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${policy} was not served`);
}

for (const family of FAMILY_NAMES.filter((name) => name !== 'llama')) {
  test(`a ${family} policy is imported, served, trained, published and served again`, async () => {
    const staging = await server.localStore.createStaging();
    await writeTinyCheckpoint(staging, { family, tied: family !== 'gpt_neox', seed: 7 });
    const imported = await importPolicy(server.connection.db, server.localStore, staging, family);
    const config = await readJson(`${staging}/config.json`, 'config.json');
    await server.localStore.discardStaging(staging);
    await activatePolicy(server.connection.db, imported, 'test');
    await waitUntilServed(imported);

    for (let at = 0; at < 40; at++) {
      const json = { prompt: `${family} ${at}:`, chosen: ' yes yes', rejected: ' no no', rater: 'test' };
      assert.equal((await server.request('/v1/preferences', { json })).status, 200);
    }
    const { id } = (await server.request('/v1/rounds', { json: {} })).body;
    const round = await waitForRound(server, id);
    assert.equal(round.status, 'succeeded', round.reason);
    assert.match(String(round.policy), /^pol_/, round.reason);
    assert.equal(round.parent, imported);
    await waitUntilServed(round.policy);

    const folder = await server.localStore.getFolder(round.policy);
    assert.deepEqual(await readJson(`${folder}/config.json`, 'config.json'), config);
    const { architecture } = await readCheckpoint(folder);
    assert.equal(architecture.family, family);
    assert.deepEqual((await readManifest(folder)).architecture, architecture);
  });
}
