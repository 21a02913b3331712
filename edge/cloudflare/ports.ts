// The API's ports in a Worker. What an isolate keeps from one request to the next is opened once; what belongs to one
// request (its Postgres client, its waitUntil) is opened with it.

import type { ExecutionContext } from '@cloudflare/workers-types';
import type { Connection } from '../../shared/database/connect.ts';
import { openR2Store } from '../../shared/store/r2.ts';
import type { Ports, ServingStatus } from '../ports.ts';
import { ActivePolicy } from './active-policy.ts';
import { enqueueDueWebhooks } from './background.ts';
import { readWorkerEnv, type WorkerEnv } from './bindings.ts';
import { LocalPolicies } from './local-policies.ts';
import { openWorkerMetrics } from './metrics-counter.ts';
import { placeRequest, selectPlacement } from './placement.ts';
import { RequestPolicies } from './request-policies.ts';

export type Isolate = WorkerEnv & { active: ActivePolicy; policies: LocalPolicies };

/** Throws an AttuneError that names what is missing. */
export function openIsolate(env: Record<string, unknown>): Isolate {
  const { bindings, settings } = readWorkerEnv(env);
  const policies = new LocalPolicies({
    // POLICY_STORE is how the others name the bucket that is bound here; its prefix counts here too.
    store: openR2Store(bindings.POLICIES, settings.POLICY_STORE?.replace(/^s3:\/\/[^/]+\/?/, '')),
    maxBytes: settings.WORKER_POLICY_BYTES,
    kvMemory: Math.min(settings.KV_MEMORY, MAX_KV_BYTES),
    maxRows: settings.MAX_ROWS,
    maxQueue: settings.MAX_QUEUE,
  });
  return { bindings, settings, active: new ActivePolicy(), policies };
}

/** Of an isolate's 128 MB. */
const MAX_KV_BYTES = 16 * 2 ** 20;

export function openPorts(isolate: Isolate, { db }: Connection, context: ExecutionContext): Ports {
  const { bindings, settings, active, policies } = isolate;
  const lookup = new RequestPolicies(db, active);
  return {
    db,
    settings,
    inference: {
      getPolicy: async (id) => policies.load(await lookup.getManifest(id)),
      async activate() {
        active.invalidate();
        if (settings.WEBHOOK_URL) await enqueueDueWebhooks(db, bindings.BACKGROUND).catch(logEnqueueFailure);
      },
    },
    getServingStatus: () => describeServing(isolate, lookup),
    placeRequest: (request, needsPolicy) => placeRequest(isolate, lookup, request, needsPolicy),
    async openDocsFile(name) {
      const found = await bindings.DOCS.fetch(`https://docs/${name}`);
      return found.ok ? (found as unknown as Response) : null;
    },
    metrics: openWorkerMetrics({ db, queue: bindings.BACKGROUND, waitUntil: (work) => context.waitUntil(work) }),
    // LISTEN needs a connection of one's own, which Hyperdrive does not give: whoever waits looks again.
    waitForChange: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
    async isWithinRateLimit(caller) {
      // A limiter that fails refuses nobody.
      const { success } = await bindings.RATE_LIMIT.limit({ key: caller }).catch((error: Error) => {
        console.error(`rate limit: it cannot be asked: ${error.message}`);
        return { success: true };
      });
      return success;
    },
  };
}

async function describeServing(isolate: Isolate, lookup: RequestPolicies): Promise<ServingStatus> {
  const policy = await isolate.active.getId(lookup.db);
  if (policy === null) return { policy, compute: null };
  const manifest = await lookup.getManifest(policy);
  try {
    return { policy, compute: selectPlacement(isolate, [manifest]) };
  } catch (error) {
    return { policy, compute: { place: 'none', reason: (error as Error).message } };
  }
}

function logEnqueueFailure(error: unknown): void {
  console.error(`late: the queue was not told of a webhook, the next cron does it: ${(error as Error).message}`);
}
