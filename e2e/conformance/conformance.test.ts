// The API as every runtime has to have it, written once: the same requests to Node and to a real workerd on the same
// Postgres, answered in the same words and shapes. RUNTIME=node or RUNTIME=worker asks for one of them alone.

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { activatePolicy } from '../../shared/store/registry.ts';
import { conformBefore, conformStart } from './activation.ts';
import { type Api, openApis } from './api.ts';
import { conformKeys } from './api-keys.ts';
import { conformInterruptions } from './cancellation.ts';
import { conformChat } from './chat.ts';
import { assertSameRows } from './compare-rows.ts';
import { differences, missingOperations, shapesOf } from './compare-runtimes.ts';
import { conformComparisons } from './comparisons.ts';
import { conformCompletions } from './completions.ts';
import { conformCrowd } from './concurrency.ts';
import { conformErrors } from './errors.ts';
import { conformIdempotency } from './idempotency.ts';
import { conformFiles } from './import-export.ts';
import { conformLists } from './pagination.ts';
import { conformPolicies } from './policies.ts';
import { conformPreferences } from './preferences.ts';
import { conformDocuments } from './public-endpoints.ts';
import { conformBodies } from './request-bodies.ts';
import { conformRounds } from './rounds.ts';
import { conformStreams } from './streams.ts';

const { stage, apis, worker } = await openApis();
const everywhere = (name: string, conform: (api: Api) => void) => {
  for (const api of apis) suite(`${api.runtime}: ${name}`, () => conform(api));
};

everywhere('before the first policy', conformBefore);
test('the first policy is made active', () => activatePolicy(stage.connection.db, stage.policyId, 'test'));
everywhere('start', conformStart);
everywhere('chat', conformChat);
everywhere('completions', conformCompletions);
everywhere('streams', conformStreams);
everywhere('interruptions', conformInterruptions);
everywhere('comparisons', conformComparisons);
everywhere('preferences', conformPreferences);
everywhere('idempotency', conformIdempotency);
everywhere('rounds', conformRounds);
everywhere('policies', (api) => conformPolicies(api, apis));
everywhere('keys', conformKeys);
everywhere('errors', conformErrors);
everywhere('lists', conformLists);
everywhere('crowd', conformCrowd);
everywhere('files', conformFiles);
everywhere('documents', conformDocuments);
everywhere('bodies', conformBodies);

for (const api of apis) {
  test(`${api.runtime}: nothing that was asked was answered with an error of our own`, () => {
    assert.deepEqual(
      api.calls.filter(({ status }) => status === 500),
      [],
    );
  });

  test(`${api.runtime}: every operation of the document has been called and has answered`, async () => {
    const { body } = await api.request('/openapi.json');
    assert.deepEqual(missingOperations(body, api.calls), []);
  });
}

const [first, ...others] = apis;
for (const other of others) {
  test(`${first!.runtime} and ${other.runtime} say the same where nothing is left to chance`, () => {
    assert.ok(first!.kept.size > 80);
    assert.deepEqual(differences(Object.fromEntries(first!.kept), Object.fromEntries(other.kept)), []);
  });

  test(`${first!.runtime} and ${other.runtime} show the same rows in the same words`, () =>
    assertSameRows(first!, other));

  test(`${first!.runtime} and ${other.runtime} answer each operation in the same shapes`, async () => {
    const { body } = await first!.request('/openapi.json');
    const [shapes, others] = [shapesOf(body, first!.calls), shapesOf(body, other.calls)];
    assert.ok(Object.keys(shapes).length > 40);
    assert.deepEqual(differences(shapes, others), []);
  });
}

if (worker) {
  test('a Worker has logged nothing, for it only logs what went wrong', () => assert.equal(worker.logs(), ''));

  test('a Worker keeps no connection to Postgres when nothing is asked of it', async () => {
    const { sql } = stage.connection;
    let left = -1;
    for (let attempt = 0; attempt < 100 && left !== 0; attempt++) {
      const [row] = await sql`select count(*)::int n from pg_stat_activity where application_name = 'attune worker'`;
      left = row!.n;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(left, 0);
  });
}
