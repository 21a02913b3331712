import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { OpenAPIHono } from '@hono/zod-openapi';
import { requestId } from 'hono/request-id';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import { readSettings } from '../../shared/settings.ts';
import { activatePolicy, registerPolicy } from '../../shared/store/registry.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { makeManifest } from '../../testing/store-package.ts';
import { storeQueue } from '../../testing/stored-queues.ts';
import { startUpstream } from '../../testing/upstream.ts';
import { toErrorResponse } from '../http/errors.ts';
import { limitBody } from '../middleware/body-limit.ts';
import * as middleware from '../middleware/placement.ts';
import type { Ports, RequiredPolicy } from '../ports.ts';
import { ActivePolicy } from './active-policy.ts';
import { type InferenceBackends, placeRequest, selectPlacement } from './placement.ts';
import { RequestPolicies } from './request-policies.ts';

const { db } = await openTestDatabase();
const [SMALL, LARGE, OTHER] = ['pol_small', 'pol_large', 'pol_other'] as const;
for (const id of [SMALL, LARGE, OTHER]) await registerPolicy(db, { id, name: id, manifest: makePolicyManifest(id) });
const TRAINED = 'pol_trained';
await registerPolicy(db, {
  id: TRAINED,
  name: TRAINED,
  manifest: { ...makePolicyManifest(TRAINED), reference: LARGE },
});
const REWARD = 'rwd_one';
await registerPolicy(db, {
  id: REWARD,
  kind: 'reward',
  name: REWARD,
  manifest: makeManifest({ id: REWARD, kind: 'reward' }),
});
await activatePolicy(db, LARGE, 'test');
await activatePolicy(db, SMALL, 'test');

const arrived: string[] = [];
const INFERENCE_URL = await startUpstream((path) => arrived.push(path));
beforeEach(() => arrived.splice(0));

function makePolicyManifest(id: string): Manifest {
  const bytes = id === LARGE ? 3 * 2 ** 20 : 2 ** 20;
  return makeManifest({
    id,
    files: {
      'onnx/serve.onnx': { sha256: '0'.repeat(64), bytes: 2 ** 18 },
      'onnx/model.onnx_data': { sha256: '0'.repeat(64), bytes },
    },
  });
}

type FixtureOptions = { env?: Record<string, string>; load?: (manifest: Manifest) => Promise<void>; edge?: unknown };

/** An isolate that computes all policies but the large one, and an API whose routes respond that they were reached. */
function openFixture({ env = { INFERENCE_URL }, load, edge }: FixtureOptions = {}) {
  let failure: string | null = null;
  const active = new ActivePolicy();
  const backends: InferenceBackends = {
    bindings: edge ? { EDGE: edge as never } : {},
    settings: readSettings(env),
    policies: {
      findUnsupportedReason: ({ id }) => (id === LARGE || id === REWARD ? 'it is too large' : failure),
      async load(manifest) {
        await load?.(manifest).catch((error: AttuneError) => {
          if (error.code === 'runtime_unavailable') failure = error.message;
          throw error;
        });
        return {} as never;
      },
    },
  };
  const app = new OpenAPIHono();
  app.onError((error, context) => toErrorResponse(context, error));
  app.use(requestId({ generator: () => newId('req_') }));
  app.use(limitBody(10_000));
  const ports: Pick<Ports, 'placeRequest'> = {
    placeRequest: (context, needsPolicy) =>
      placeRequest(backends, new RequestPolicies(db, active), context, needsPolicy),
  };
  const routes: [string, RequiredPolicy][] = [
    ['/v1/policies/rollback', 'previous'],
    ['/v1/policies/:id/promote', 'path'],
    ['/v1/score', 'body and reference'],
    ['/v1/queues/:id/next', 'queue'],
    ['/v1/comparisons', 'sides'],
    ['/v1/*', 'body'],
  ];
  for (const [path, needsPolicy] of routes)
    app.post(path, middleware.placeRequest(ports, needsPolicy), (context) => context.json({ from: 'here' }));
  return {
    backends,
    active,
    async post(path: string, body: unknown, headers: Record<string, string> = {}) {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const response = await app.request(path, { method: 'POST', body: text, headers });
      const json = (await response.json()) as { from?: string; error?: { message: string; code: string } };
      return { from: json.from, error: json.error, status: response.status, headers: response.headers };
    },
  };
}

test('a policy that fits is computed here, and the header gives its size', async () => {
  const { post } = openFixture();
  for (const body of [{}, { model: 'attune' }, { model: SMALL }]) {
    const { from, headers } = await post('/v1/chat/completions', body);
    assert.equal(from, 'here');
    assert.equal(headers.get('x-attune-compute'), 'worker');
    assert.match(
      headers.get('x-attune-compute-reason')!,
      /^[\d.]+ MiB of weights fit in WORKER_POLICY_BYTES of 8 MiB$/,
    );
  }
  assert.deepEqual(arrived, []);
});

test('a request for a policy that does not fit is forwarded, wherever it names the policy', async () => {
  const { post } = openFixture();
  const requests: [string, unknown][] = [
    ['/v1/chat/completions', { model: LARGE }],
    ['/v1/completions', { model: LARGE, prompt: 'x' }],
    ['/v1/comparisons', { models: [SMALL, LARGE] }],
    [`/v1/policies/${LARGE}/promote`, ''],
    ['/v1/policies/rollback', ''],
    [`/v1/queues/${(await storeQueue(db, { pairing: { type: 'policies', policies: [SMALL, LARGE] } })).id}/next`, {}],
    [`/v1/queues/${(await storeQueue(db, { pairing: { type: 'given', policy: LARGE } })).id}/next`, {}],
  ];
  for (const [path, body] of requests) {
    const { from, headers } = await post(path, body);
    assert.equal(from, 'upstream', path);
    assert.equal(headers.get('x-attune-compute'), 'url');
    assert.equal(headers.get('x-attune-compute-reason'), `policy ${LARGE}: it is too large`);
  }
  assert.deepEqual(
    arrived,
    requests.map(([path]) => path),
  );
});

test('a forwarded promotion takes effect here at once', async () => {
  const { active, post } = openFixture();
  assert.equal((await active.getServing(db)).activeId, SMALL);
  await activatePolicy(db, LARGE, 'test');
  await post(`/v1/policies/${LARGE}/promote`, '');
  assert.equal((await active.getServing(db)).activeId, LARGE);
  await activatePolicy(db, SMALL, 'test');
});

test('a request without a policy, or for an unknown one, reaches the route here', async () => {
  const { post } = openFixture();
  const requests: [string, unknown][] = [
    ['/v1/chat/completions', 'no JSON'],
    ['/v1/chat/completions', { model: 5 }],
    ['/v1/chat/completions', { model: `${LARGE}\0` }],
    ['/v1/chat/completions', { model: 'pol_none' }],
    ['/v1/comparisons', { models: [LARGE] }],
    ['/v1/policies/pol_none/promote', ''],
    ['/v1/queues/que_none/next', {}],
    [`/v1/queues/${(await storeQueue(db)).id}/next`, {}],
  ];
  for (const [path, body] of requests) assert.equal((await post(path, body)).from, 'here', `${path} ${body}`);
  assert.deepEqual(arrived, []);
});

test('the request that discovers that the runtime does not start is forwarded', async () => {
  let loads = 0;
  const { post } = openFixture({
    async load() {
      loads += 1;
      throw new AttuneError('WASM did not start', { status: 503, code: 'runtime_unavailable' });
    },
  });
  for (const _ of [1, 2]) {
    const { from, headers } = await post('/v1/chat/completions', {});
    assert.equal(from, 'upstream');
    assert.equal(headers.get('x-attune-compute-reason'), `policy ${SMALL}: WASM did not start`);
  }
  assert.equal(loads, 1);
});

test('a damaged policy is an error here and is not forwarded', async () => {
  const { post } = openFixture({
    async load() {
      throw new AttuneError('policy pol_small: a file is damaged', {
        status: 500,
        code: 'damaged_policy',
        retry: false,
      });
    },
  });
  const { status, error, headers } = await post('/v1/chat/completions', {});
  assert.equal(status, 500);
  assert.equal(error!.code, 'damaged_policy');
  assert.equal(headers.get('x-attune-compute'), 'worker');
  assert.deepEqual(arrived, []);
});

test('while the active policy cannot be loaded, the previous one serves, and loading is retried', async () => {
  let isMissing = true;
  const { active, post } = openFixture({
    async load({ id }) {
      if (id !== SMALL && isMissing)
        throw new AttuneError(`policy ${id}: it is not there`, { status: 404, code: 'model_not_found' });
    },
  });
  const fresh = 'pol_fresh';
  await registerPolicy(db, { id: fresh, name: fresh, manifest: makePolicyManifest(fresh) });
  assert.equal((await post('/v1/chat/completions', {})).status, 200);
  await activatePolicy(db, fresh, 'test');
  active.invalidate();
  assert.equal((await post('/v1/chat/completions', {})).status, 200);
  assert.equal((await active.getServing(db)).activeId, SMALL);
  assert.equal((await post('/v1/chat/completions', { model: fresh })).error!.code, 'model_not_found');
  isMissing = false;
  active.invalidate();
  assert.equal((await post('/v1/chat/completions', {})).status, 200);
  assert.equal((await active.getServing(db)).activeId, fresh);
  await activatePolicy(db, SMALL, 'test');
});

test('while the active policy’s manifest is in a newer format, the previous policy serves', async () => {
  const { active, post } = openFixture();
  assert.equal((await post('/v1/chat/completions', {})).status, 200);
  await registerPolicy(db, { id: 'pol_newer', name: 'newer', manifest: { format: 2 } });
  await activatePolicy(db, 'pol_newer', 'test');
  active.invalidate();
  assert.equal((await post('/v1/chat/completions', {})).headers.get('x-attune-compute'), 'worker');
  assert.equal((await active.getServing(db)).activeId, SMALL);
  await activatePolicy(db, SMALL, 'test');
});

test('without another inference backend the error names both remedies', async () => {
  const { post } = openFixture({ env: {} });
  const { status, error, headers } = await post('/v1/chat/completions', { model: LARGE });
  assert.equal(status, 503);
  assert.equal(error!.code, 'no_inference_backend');
  assert.match(error!.message, /EDGE.*INFERENCE_URL/);
  assert.equal(headers.get('x-should-retry'), 'false');
  assert.equal((await post('/v1/chat/completions', { model: SMALL })).from, 'here');
});

test('the container is used unless INFERENCE_URL is set', () => {
  const place = (options: FixtureOptions) =>
    selectPlacement(openFixture(options).backends, [makePolicyManifest(SMALL), makePolicyManifest(LARGE)]).place;
  assert.equal(place({ env: {}, edge: {} }), 'container');
  assert.equal(place({ edge: {} }), 'url');
});

test('an INFERENCE_URL that points back here is rejected', async () => {
  const { post } = openFixture();
  const { status, error, headers } = await post(
    '/v1/chat/completions',
    { model: LARGE },
    { 'x-attune-forwarded': '1' },
  );
  assert.equal(status, 508);
  assert.equal(error!.code, 'forwarding_loop');
  assert.match(error!.message, /INFERENCE_URL/);
  assert.equal(headers.get('x-should-retry'), 'false');
  assert.deepEqual(arrived, []);
});

test('what scores is placed together with the policy: its reference, another one, or a reward', async () => {
  const { post } = openFixture();
  const cases: [string, object, 'here' | 'upstream'][] = [
    ['/v1/score', { model: SMALL }, 'here'],
    ['/v1/score', { model: TRAINED }, 'upstream'],
    ['/v1/score', { model: TRAINED, reference: OTHER }, 'here'],
    ['/v1/score', { model: SMALL, reward: REWARD }, 'upstream'],
    ['/v1/completions', { model: TRAINED, best_of: 2 }, 'here'],
    ['/v1/completions', { model: TRAINED, ranker: 'log_ratio' }, 'upstream'],
    ['/v1/completions', { model: SMALL, ranker: REWARD }, 'upstream'],
    // The route rejects what does not exist.
    ['/v1/completions', { model: SMALL, ranker: 'rwd_none' }, 'here'],
    ['/v1/score', { model: SMALL, reference: 'pol_none' }, 'here'],
  ];
  for (const [path, body, expected] of cases)
    assert.equal((await post(path, body)).from, expected, `${path} ${JSON.stringify(body)}`);
});
