// Decides about the canary that runs and the policy that is watched, in every process on Node by turns: any of them may be the
// only one, and a decision takes effect once.

import { decideCanaries } from '../../shared/canary/decide.ts';
import { runInTurn } from '../../shared/canary/turn.ts';
import { CHANGES } from '../../shared/database/channels.ts';
import type { Connection } from '../../shared/database/connect.ts';
import { type Subscription, subscribe } from '../../shared/database/subscribe.ts';
import { log } from '../../shared/log.ts';
import type { Settings } from '../../shared/settings.ts';
import { findOpenCanaries } from '../../shared/store/canary-states.ts';

const INTERVAL_MS = 2000;

/** At once, and every two seconds from then on; a failure is logged, and the next time tries again. */
export async function startDeciding(connection: Connection, settings: Settings): Promise<Subscription> {
  const { db } = connection;
  let decidedAtMs = Number.NEGATIVE_INFINITY;
  const options = { name: 'canary', pollIntervalMs: INTERVAL_MS };
  // Woken by what may have begun or ended one, and not more often than without: rounds notify as well.
  return subscribe(connection, CHANGES, options, async () => {
    if (performance.now() - decidedAtMs < INTERVAL_MS) return;
    decidedAtMs = performance.now();
    const { running, watching } = await findOpenCanaries(db);
    if (!running && !watching) return;
    const changed = await runInTurn(db, () => decideCanaries(db, settings));
    for (const { id, policy_id, state, reason } of changed ?? [])
      log.info('canary', `${id}: ${policy_id} is ${state}: ${reason}`);
  });
}
