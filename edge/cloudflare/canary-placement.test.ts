import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Hono } from 'hono';
import { cancelCanary, startCanary } from '../../shared/canary/canaries.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import { readSettings } from '../../shared/settings.ts';
import { findOpenCanaries } from '../../shared/store/canary-states.ts';
import { activatePolicy, registerPolicy } from '../../shared/store/registry.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { makeManifest } from '../../testing/store-package.ts';
import { storeQueue } from '../../testing/stored-queues.ts';
import { startUpstream } from '../../testing/upstream.ts';
import { findAssigned } from '../canary/select-policy.ts';
import { toErrorResponse } from '../http/errors.ts';
import type { RequiredPolicy } from '../ports.ts';
import { ActivePolicy } from './active-policy.ts';
import { type InferenceBackends, placeRequest } from './placement.ts';
import { RequestPolicies } from './request-policies.ts';

const { db } = await openTestDatabase();
const [SMALL, OTHER, LARGE, NEWER] = ['pol_small', 'pol_other', 'pol_large', 'pol_newer'] as const;
for (const id of [SMALL, OTHER, LARGE]) {
  const files = { 'onnx/serve.onnx': { sha256: '0'.repeat(64), bytes: 2 ** 18 } };
  await registerPolicy(db, { id, name: id, manifest: makeManifest({ id, files }) });
}
await registerPolicy(db, { id: NEWER, name: NEWER, manifest: { format: 2 } });

const INFERENCE_URL = await startUpstream();

afterEach(async () => {
  const { running } = await findOpenCanaries(db);
  if (running) await db.transaction((on) => cancelCanary(on, running.id, { actor: 'test', reason: 'test' }));
});

async function start(baseline: string, policyId: string): Promise<string> {
  await activatePolicy(db, baseline, 'test');
  return (await db.transaction((on) => startCanary(on, { policyId, share: 0.5, actor: 'test' }))).id;
}

type Answer = { from?: string; policy?: string; canary?: string | null; error?: { code: string } };

/** An isolate that computes all policies but the large one, and routes that respond with what they would compute. */
function openIsolate(load: (manifest: Manifest) => void = () => {}, env: Record<string, string> = { INFERENCE_URL }) {
  const active = new ActivePolicy();
  const failures: string[] = [];
  const loaded: string[][] = [];
  const app = new Hono();
  const routes: [string, RequiredPolicy][] = [
    ['/v1/queues/:id/next', 'queue'],
    ['/v1/comparisons', 'sides'],
    ['/v1/*', 'body'],
  ];
  for (const [path, needsPolicy] of routes)
    app.post(path, async (context) => {
      const own: string[] = [];
      loaded.push(own);
      const backends: InferenceBackends = {
        bindings: {},
        settings: readSettings(env),
        policies: {
          findUnsupportedReason: ({ id }) => (id === LARGE ? 'it is too large' : null),
          async load(manifest) {
            load(manifest);
            own.push(manifest.id);
            return {} as never;
          },
        },
      };
      const policies = new RequestPolicies(db, active, (id) => failures.push(id));
      const { response } = await placeRequest(backends, policies, context, needsPolicy);
      if (response) return response;
      const canary = await policies.getCanary();
      const selected = canary ? findAssigned(canary, context, await context.req.json()) : undefined;
      return context.json({
        from: 'here',
        policy: (await policies.getManifest(selected)).id,
        canary: canary?.id ?? null,
      });
    });
  app.onError((error, context) => toErrorResponse(context, error));
  return {
    active,
    failures,
    loaded,
    async post(path: string, body: unknown): Promise<Answer> {
      const response = await app.request(path, { method: 'POST', body: JSON.stringify(body) });
      return (await response.json()) as Answer;
    },
  };
}

/** As many as there are of both policies in every canary. */
const users = Array.from({ length: 48 }, (_, at) => `user-${at}`);

test('each arm is computed where its policy can be: the candidate elsewhere and the active one here, or the other way round', async () => {
  const seen: Record<string, Set<string>> = {};
  for (const [baseline, candidate] of [
    [SMALL, LARGE],
    [LARGE, SMALL],
  ] as const) {
    const canary = await start(baseline, candidate);
    const { post } = openIsolate();
    const answers = await Promise.all(users.map((user) => post('/v1/completions', { prompt: 'Once', user })));
    for (const answer of answers)
      if (answer.from === 'here') assert.deepEqual(answer, { from: 'here', policy: SMALL, canary });
    seen[candidate] = new Set(answers.map(({ from }) => from!));
    await db.transaction((on) => cancelCanary(on, canary, { actor: 'test', reason: 'test' }));
  }
  const both = new Set(['here', 'upstream']);
  assert.deepEqual(seen, { [LARGE]: both, [SMALL]: both });
});

test('what is loaded for a request is what its route computes, and a comparison needs both', async () => {
  await start(SMALL, OTHER);
  const { post, loaded } = openIsolate();
  const seen = new Set<string>();
  for (const user of users) {
    const { policy } = await post('/v1/completions', { prompt: 'Once', user, model: 'attune' });
    assert.deepEqual(loaded.at(-1), [policy]);
    seen.add(policy!);
  }
  assert.deepEqual(seen, new Set([SMALL, OTHER]));
  await post('/v1/completions', { prompt: 'Once', user: users[0], model: SMALL });
  assert.deepEqual(loaded.at(-1), [SMALL]);
  await post('/v1/comparisons', { prompt: 'Once' });
  assert.deepEqual(loaded.at(-1), [SMALL, OTHER]);
  await post('/v1/comparisons', { prompt: 'Once', model: OTHER });
  assert.deepEqual(loaded.at(-1), [OTHER]);
  for (const pairing of [{ type: 'same' as const }, { type: 'canary' as const }]) {
    await post(`/v1/queues/${(await storeQueue(db, { pairing })).id}/next`, {});
    assert.deepEqual(loaded.at(-1), [SMALL, OTHER]);
  }
  await post(`/v1/queues/${(await storeQueue(db, { pairing: { type: 'given' } })).id}/next`, {});
  assert.deepEqual(loaded.at(-1), [SMALL]);
});

test('without a candidate that loads the active policy serves all, which is counted, and loading is tried again', async () => {
  const canary = await start(SMALL, OTHER);
  let isMissing = true;
  const { post, active, failures } = openIsolate(({ id }) => {
    if (id === OTHER && isMissing) throw new AttuneError('it is not there', { status: 404, code: 'model_not_found' });
  });
  const ask = () => Promise.all(users.map((user) => post('/v1/completions', { prompt: 'Once', user })));
  for (const answer of await ask()) assert.equal(answer.policy, SMALL);
  assert.deepEqual(failures, [OTHER], 'one attempt, whoever waited for it');
  for (const answer of await ask()) assert.deepEqual(answer, { from: 'here', policy: SMALL, canary: null });
  assert.equal((await post('/v1/comparisons', { prompt: 'Once' })).from, 'here');
  assert.equal(failures.length, 1, 'not tried again at once');
  const named = await post('/v1/completions', { prompt: 'Once', model: OTHER });
  assert.equal(named.error!.code, 'model_not_found');
  isMissing = false;
  active.invalidate();
  const answers = await ask();
  assert.deepEqual(new Set(answers.map(({ policy }) => policy)), new Set([SMALL, OTHER]));
  assert.ok(answers.every((answer) => answer.canary === canary));
});

test('a store that is away is not counted against the candidate, whose users get the active policy', async () => {
  await start(SMALL, OTHER);
  const { post, failures } = openIsolate(({ id }) => {
    if (id === OTHER) throw new AttuneError('R2 cannot be read', { status: 503, code: 'policy_store_unreachable' });
  });
  for (const user of users) assert.equal((await post('/v1/completions', { prompt: 'Once', user })).policy, SMALL);
  assert.deepEqual(failures, []);
});

test('a candidate that has no place, or that this version cannot read, leaves all to the active policy', async () => {
  for (const candidate of [LARGE, NEWER]) {
    const canary = await start(SMALL, candidate);
    const { post, failures } = openIsolate(() => {}, {});
    const ask = () => Promise.all(users.map((user) => post('/v1/completions', { prompt: 'Once', user })));
    for (const { from, policy } of await ask()) assert.deepEqual([from, policy], ['here', SMALL]);
    for (const answer of await ask()) assert.deepEqual(answer, { from: 'here', policy: SMALL, canary: null });
    assert.deepEqual(failures, [candidate]);
    await db.transaction((on) => cancelCanary(on, canary, { actor: 'test', reason: 'test' }));
  }
});
