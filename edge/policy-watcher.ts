// Keeps a process on the active policy: NOTIFY wakes it, and a poll each second finds changes whose notification was
// lost, so that a swap reaches every process within two seconds.

import { CHANGES } from '../shared/database/channels.ts';
import type { Connection } from '../shared/database/connect.ts';
import { type Subscription, subscribe } from '../shared/database/subscribe.ts';
import { summarizeError } from '../shared/error-description.ts';
import { log } from '../shared/log.ts';
import { getActivePolicyId } from '../shared/store/registry.ts';
import type { Inference } from './engine/inference.ts';

const POLL_INTERVAL_MS = 1000;
/** Delay before a policy that failed to load is retried, doubled each time: its package may have been repaired. */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;

/** Follows the active policy until closed. A policy that cannot be loaded leaves the current one serving. */
export async function watchPolicies(connection: Connection, inference: Inference): Promise<Subscription> {
  let failed = { id: '', retryMs: 0, retryAt: 0 };

  const activate = async () => {
    const id = await getActivePolicyId(connection.db);
    if (!id || id === inference.getActivePolicy()?.id) return;
    if (id === failed.id && performance.now() < failed.retryAt) return;
    try {
      await inference.activate(id);
      log.info('policy', `serving ${id}`);
    } catch (error) {
      const retryMs = id === failed.id ? Math.min(2 * failed.retryMs, MAX_RETRY_MS) : FIRST_RETRY_MS;
      failed = { id, retryMs, retryAt: performance.now() + retryMs };
      const serving = inference.getActivePolicy()?.id ?? 'no policy';
      log.error(
        'policy',
        `${id} failed to load; still serving ${serving}, next attempt in ${retryMs / 1000} s: ${summarizeError(error)}`,
      );
    }
  };

  const options = { name: 'policy', pollIntervalMs: POLL_INTERVAL_MS };
  const subscription = await subscribe(connection, CHANGES, options, activate);
  await subscription.firstRun;
  return subscription;
}
