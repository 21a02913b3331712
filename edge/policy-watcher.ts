// Keeps a process on the active policy, and a canary's candidate loaded beside it: NOTIFY wakes it, and a poll each second finds
// changes whose notification was lost, so that a swap reaches every process within two seconds.

import { CHANGES } from '../shared/database/channels.ts';
import type { Connection } from '../shared/database/connect.ts';
import { type Subscription, subscribe } from '../shared/database/subscribe.ts';
import { summarizeError } from '../shared/error-description.ts';
import { log } from '../shared/log.ts';
import { readServing } from '../shared/store/registry.ts';
import { isPolicyAtFault } from './canary/policy-fault.ts';
import type { Inference } from './engine/inference.ts';
import type { RunningCanary } from './ports.ts';

const POLL_INTERVAL_MS = 1000;
/** Delay before a policy that failed to load is retried, doubled each time: its package may have been repaired. */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;

export type PolicyWatcher = Subscription & {
  /** The canary that runs, once both of its policies are served here. */
  getCanary(): RunningCanary | null;
};

/**
 * Follows what is to be served until closed. A policy that cannot be loaded leaves the current one serving. `onLoadFailure` is
 * told of what speaks against the policy, and not that its store is away.
 */
export async function watchPolicies(
  connection: Connection,
  inference: Inference,
  onLoadFailure: (id: string) => void = () => {},
): Promise<PolicyWatcher> {
  let canary: RunningCanary | null = null;
  let isClosed = false;
  const load = (loader: (id: string) => Promise<void>, onLoaded: (id: string) => void) =>
    openRetries(loader, onLoaded, (id, delayMs, error) => {
      if (isClosed) return;
      if (isPolicyAtFault(error)) onLoadFailure(id);
      const serving = inference.getActivePolicy()?.id ?? 'no policy';
      const next = `next attempt in ${delayMs / 1000} s`;
      log.error('policy', `${id} failed to load; still serving ${serving}, ${next}: ${summarizeError(error)}`);
    });
  const activate = load(
    (id) => inference.activate(id),
    (id) => log.info('policy', `serving ${id}`),
  );
  const loadCandidate = load(
    (id) => inference.setCandidate(id),
    (id) => log.info('policy', `serving ${id}, a canary, beside the active policy`),
  );

  const follow = async () => {
    const serving = await readServing(connection.db);
    canary = serving.canary;
    if (serving.activeId && serving.activeId !== inference.getActivePolicy()?.id) await activate(serving.activeId);
    // After a swap, which takes the candidate that it promotes. Not awaited: a swap does not wait for a candidate that loads.
    const id = canary?.policyId ?? null;
    if (id === (inference.getCandidate()?.id ?? null)) return;
    if (id === null) await inference.setCandidate(null);
    else void loadCandidate(id);
  };

  const options = { name: 'policy', pollIntervalMs: POLL_INTERVAL_MS };
  const subscription = await subscribe(connection, CHANGES, options, follow);
  await subscription.firstRun;
  return {
    ...subscription,
    getCanary() {
      const [active, candidate] = [inference.getActivePolicy()?.id, inference.getCandidate()?.id];
      return canary?.baselineId === active && canary?.policyId === candidate ? canary : null;
    },
    close() {
      isClosed = true;
      return subscription.close();
    },
  };
}

/** Loads a policy unless it is loading already, or has failed to a short while ago. */
function openRetries(
  load: (id: string) => Promise<void>,
  onLoaded: (id: string) => void,
  onFailed: (id: string, delayMs: number, error: unknown) => void,
): (id: string) => Promise<void> {
  let failed = { id: '', delayMs: 0, untilMs: 0 };
  let loadingId: string | null = null;
  return async (id) => {
    if (id === loadingId || (id === failed.id && performance.now() < failed.untilMs)) return;
    loadingId = id;
    try {
      await load(id);
      onLoaded(id);
    } catch (error) {
      const delayMs = id === failed.id ? Math.min(2 * failed.delayMs, MAX_RETRY_MS) : FIRST_RETRY_MS;
      failed = { id, delayMs, untilMs: performance.now() + delayMs };
      onFailed(id, delayMs, error);
    } finally {
      if (loadingId === id) loadingId = null;
    }
  };
}
