// The API's ports in a Worker. An isolate's state is created once; the state of a request (its Postgres client, its
// waitUntil) is created with the request.

import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from '@cloudflare/workers-types';
import type { Connection } from '../../shared/database/connect.ts';
import { log, setLogOutput, writeJson, writeText } from '../../shared/log.ts';
import { redactPii } from '../../shared/redaction/pii.ts';
import { openR2Store } from '../../shared/store/r2.ts';
import { PolicyMinutes } from '../canary/policy-minutes.ts';
import { Credentials } from '../credentials.ts';
import { Tenants } from '../engine/tenants.ts';
import { LoopEvents } from '../loop/loop-events.ts';
import { LoopReader } from '../loop/read-loop.ts';
import type { Ports, ServingStatus } from '../ports.ts';
import { logRequest } from '../request-log.ts';
import { RoundEvents } from '../round-events.ts';
import { WrongKeys } from '../wrong-keys.ts';
import { ActivePolicy } from './active-policy.ts';
import { enqueueDueWebhooks } from './background.ts';
import { readWorkerEnv, type WorkerEnv } from './bindings.ts';
import { FlushTurn } from './flush-turn.ts';
import { LocalPolicies } from './local-policies.ts';
import { openWorkerMetrics } from './metrics-counter.ts';
import { type CountedMinutes, openWorkerMinutes } from './minutes-counter.ts';
import { placeRequest, selectPlacement } from './placement.ts';
import { getCloudflareAddress, openWorkerRateLimits } from './rate-limits.ts';
import { RequestPolicies } from './request-policies.ts';

export type Isolate = WorkerEnv & {
  active: ActivePolicy;
  policies: LocalPolicies;
  credentials: Credentials;
  tenants: Tenants;
  wrongKeys: WrongKeys;
  counted: CountedMinutes;
};

/** An isolate has 128 MB of memory. */
const MAX_KV_BYTES = 16 * 2 ** 20;

/** Throws an AttuneError that names a missing binding or an invalid setting. */
export function openIsolate(env: Record<string, unknown>): Isolate {
  const { bindings, settings } = readWorkerEnv(env);
  setLogOutput(settings.LOG_FORMAT === 'text' ? (event) => writeText(event) : writeJson, settings.LOG_LEVEL);
  const tenants = new Tenants((settings.API_KEY?.length ?? 0) > 1);
  const policies = new LocalPolicies({
    // Other processes address this bucket as POLICY_STORE, whose prefix applies here too.
    store: openR2Store(bindings.POLICIES, settings.POLICY_STORE?.replace(/^s3:\/\/[^/]+\/?/, '')),
    maxBytes: settings.WORKER_POLICY_BYTES,
    kvMemoryBytes: Math.min(settings.KV_MEMORY, MAX_KV_BYTES),
    maxRows: settings.MAX_ROWS,
    maxQueue: settings.MAX_QUEUE,
    tenants,
  });
  const wrongKeys = new WrongKeys(settings.WRONG_KEYS_PER_MINUTE);
  return {
    bindings,
    settings,
    active: new ActivePolicy(),
    policies,
    credentials: new Credentials(),
    wrongKeys,
    tenants,
    counted: { minutes: new PolicyMinutes(), turn: new FlushTurn() },
  };
}

export function openPorts(isolate: Isolate, { db }: Connection, context: ExecutionContext): Ports {
  const { bindings, settings, active, policies, counted } = isolate;
  const waitUntil = (work: Promise<unknown>) => context.waitUntil(work);
  const minutes = openWorkerMinutes({ ...counted, queue: bindings.BACKGROUND, waitUntil });
  const requestPolicies = new RequestPolicies(db, active, minutes.countLoadFailure);
  const sendWebhooks = () => enqueueDueWebhooks(db, settings, bindings.BACKGROUND).catch(logEnqueueFailure);
  return {
    db,
    settings,
    credentials: isolate.credentials,
    tenants: isolate.tenants,
    wrongKeys: isolate.wrongKeys,
    getAddress: getCloudflareAddress,
    redact: settings.REDACT === undefined ? null : redactPii,
    inference: {
      getPolicy: async (id) => policies.load(await requestPolicies.getManifest(id)),
      // Every policy here is at float32.
      getScorer: async (id) => policies.load(await requestPolicies.getManifest(id)),
      // Placement sends requests that need one elsewhere.
      getReward: (id) => Promise.reject(new Error(`internal: reward ${id} was placed in a Worker`)),
      async activate() {
        active.invalidate();
        await sendWebhooks();
      },
    },
    getCanary: () => requestPolicies.getCanary(),
    getServingStatus: () => getServingStatus(isolate, requestPolicies),
    placeRequest: (request, needsPolicy) => placeRequest(isolate, requestPolicies, request, needsPolicy),
    async openAsset(path) {
      const response = await bindings.ASSETS.fetch(`https://assets/${path}`);
      return response.ok ? new Response(response.body as unknown as ReadableStream) : null;
    },
    metrics: openWorkerMetrics({ db, queue: bindings.BACKGROUND, waitUntil }),
    observeRequest(record) {
      minutes.observe(record);
      logRequest(record);
    },
    sendWebhooks,
    // LISTEN needs a dedicated connection, which Hyperdrive does not provide: each request polls for itself.
    roundEvents: new RoundEvents(db, sleep),
    loop: new LoopEvents(new LoopReader(db, settings, () => null)),
    rateLimits: openWorkerRateLimits(bindings.RATE_LIMIT),
  };
}

async function getServingStatus(isolate: Isolate, requestPolicies: RequestPolicies): Promise<ServingStatus> {
  const { activeId: policy } = await requestPolicies.getServing();
  if (policy === null) return { policy, candidate: null, compute: null };
  const candidate = (await requestPolicies.getCanary())?.policyId ?? null;
  const manifest = await requestPolicies.getManifest(policy);
  try {
    return { policy, candidate, compute: selectPlacement(isolate, [manifest]) };
  } catch (error) {
    return { policy, candidate, compute: { place: 'none', reason: (error as Error).message } };
  }
}

function logEnqueueFailure(error: unknown): void {
  log.error('background', 'enqueueing a webhook failed; the next cron retries', error);
}
