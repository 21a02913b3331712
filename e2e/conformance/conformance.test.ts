// The API's conformance suite: the same requests to Node and to workerd on one Postgres, with the same responses, headers
// and fields. RUNTIME=node or RUNTIME=worker runs one of them.

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { activatePolicy } from '../../shared/store/registry.ts';
import { testAccess } from './access.ts';
import { testActivation, testBeforeActivation } from './activation.ts';
import { type Api, openApis } from './api.ts';
import { testApiKeys } from './api-keys.ts';
import { testCanaries } from './canaries.ts';
import { testCanaryTraffic } from './canary-traffic.ts';
import { testCancellation } from './cancellation.ts';
import { testChat } from './chat.ts';
import { assertSameRows } from './compare-rows.ts';
import { collectShapes, listDifferences, listMissingOperations } from './compare-runtimes.ts';
import { testComparisons } from './comparisons.ts';
import { testCompletions } from './completions.ts';
import { testConcurrency } from './concurrency.ts';
import { testEmbedTokens } from './embed-tokens.ts';
import { testErasures } from './erasures.ts';
import { testErrors } from './errors.ts';
import { testFeedback } from './feedback.ts';
import { testIdempotency } from './idempotency.ts';
import { testImportExport } from './import-export.ts';
import { testKeys } from './keys.ts';
import { testLoop } from './loop.ts';
import { testOfferedComparisons } from './offered-comparisons.ts';
import { testPages } from './pages.ts';
import { testPagination } from './pagination.ts';
import { testPolicies } from './policies.ts';
import { testPreferenceFilters } from './preference-filters.ts';
import { testPreferences } from './preferences.ts';
import { testPublicEndpoints } from './public-endpoints.ts';
import { testQuality } from './quality.ts';
import { testQueues } from './queues.ts';
import { testRaters } from './raters.ts';
import { testRequestBodies } from './request-bodies.ts';
import { testResponseFormat } from './response-format.ts';
import { testRewards } from './rewards.ts';
import { testRounds } from './rounds.ts';
import { testScores } from './scores.ts';
import { testSessions } from './sessions.ts';
import { testStoredText } from './stored-text.ts';
import { testStreams } from './streams.ts';
import { testTenants } from './tenants.ts';
import { testWebhookEvents } from './webhook-events.ts';

const { server, apis, worker } = await openApis();
const onEveryRuntime = (name: string, declareTests: (api: Api) => void) => {
  for (const api of apis) suite(`${api.runtime}: ${name}`, () => declareTests(api));
};

onEveryRuntime('before activation', testBeforeActivation);
test('activates the first policy', () => activatePolicy(server.connection.db, server.policyId, 'test'));
onEveryRuntime('activation', testActivation);
onEveryRuntime('chat', testChat);
onEveryRuntime('completions', testCompletions);
onEveryRuntime('streams', testStreams);
onEveryRuntime('response formats', testResponseFormat);
onEveryRuntime('scores', testScores);
onEveryRuntime('cancellation', testCancellation);
onEveryRuntime('comparisons', testComparisons);
onEveryRuntime('preferences', testPreferences);
onEveryRuntime('filters of preferences', testPreferenceFilters);
onEveryRuntime('feedback', testFeedback);
onEveryRuntime('offered comparisons', testOfferedComparisons);
onEveryRuntime('idempotency', testIdempotency);
onEveryRuntime('quality', testQuality);
onEveryRuntime('rounds', testRounds);
onEveryRuntime('policies', (api) => testPolicies(api, apis));
onEveryRuntime('canaries', testCanaries);
onEveryRuntime('the traffic of a canary', testCanaryTraffic);
onEveryRuntime('rewards', testRewards);
onEveryRuntime('loop', testLoop);
onEveryRuntime('webhook events', testWebhookEvents);
onEveryRuntime('API keys', testApiKeys);
onEveryRuntime('keys', testKeys);
onEveryRuntime('raters', testRaters);
onEveryRuntime('queues', testQueues);
onEveryRuntime('sessions', testSessions);
onEveryRuntime('pages', testPages);
onEveryRuntime('embed tokens', testEmbedTokens);
onEveryRuntime('access', testAccess);
onEveryRuntime('tenants', testTenants);
onEveryRuntime('erasures', testErasures);
onEveryRuntime('errors', testErrors);
onEveryRuntime('pagination', testPagination);
onEveryRuntime('concurrency', testConcurrency);
onEveryRuntime('import and export', testImportExport);
onEveryRuntime('every text is stored as it was sent', testStoredText);
onEveryRuntime('public endpoints', testPublicEndpoints);
onEveryRuntime('request bodies', testRequestBodies);

for (const api of apis) {
  test(`${api.runtime}: no request got a 500`, () => {
    assert.deepEqual(
      api.calls.filter(({ status }) => status === 500),
      [],
    );
  });

  test(`${api.runtime}: every operation of the OpenAPI document was called and succeeded`, async () => {
    const { body } = await api.request('/openapi.json');
    assert.deepEqual(listMissingOperations(body, api.calls), []);
  });
}

const [first, ...others] = apis;
for (const other of others) {
  test(`${first!.runtime} and ${other.runtime} give the same deterministic results`, () => {
    assert.ok(first!.recorded.size > 80);
    assert.deepEqual(listDifferences(Object.fromEntries(first!.recorded), Object.fromEntries(other.recorded)), []);
  });

  test(`${first!.runtime} and ${other.runtime} return the same stored rows, byte for byte`, () =>
    assertSameRows(first!, other));

  test(`${first!.runtime} and ${other.runtime} respond to each operation with the same headers and fields`, async () => {
    const { body } = await first!.request('/openapi.json');
    const [shapes, others] = [collectShapes(body, first!.calls), collectShapes(body, other.calls)];
    assert.ok(Object.keys(shapes).length > 40);
    // The queue is that of the process, and a Worker has none; what the schedule waits for is a matter of time.
    const mayDiffer = /^\/GET \/v1\/loop 200\/\.(queue|schedule\.waits_for)\b/;
    assert.deepEqual(
      listDifferences(shapes, others).filter((difference) => !mayDiffer.test(difference)),
      [],
    );
  });
}

if (worker) {
  test('the Worker logs one line for each request, and no errors', () => {
    const lines = worker
      .logs()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      lines.filter(({ area, level }) => area !== 'http' || level === 'error'),
      [],
    );
    assert.ok(lines.length >= apis.find(({ runtime }) => runtime === 'worker')!.calls.length);
  });

  test('an idle Worker has no connection to Postgres', async () => {
    const { sql } = server.connection;
    let open = -1;
    for (let attempt = 0; attempt < 100 && open !== 0; attempt++) {
      const [row] = await sql`select count(*)::int n from pg_stat_activity where application_name = 'attune worker'`;
      open = row!.n;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(open, 0);
  });
}
