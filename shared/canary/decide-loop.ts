// Decides about the canary that runs and the policy that is watched, in every edge on Node and in the trainer by turns: any of
// them may be the only one, and a decision takes effect once.

import { CHANGES } from '../database/channels.ts';
import type { Connection, Database } from '../database/connect.ts';
import { type Subscription, subscribe } from '../database/subscribe.ts';
import { log } from '../log.ts';
import type { Settings } from '../settings.ts';
import { findOpenCanaries } from '../store/canary-states.ts';
import { decideCanaries } from './decide.ts';
import { runInTurn } from './turn.ts';

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
    await runInTurn(db, () => decideOnce(db, settings));
  });
}

/** Logs what it has decided. */
export async function decideOnce(db: Database, settings: Settings): Promise<void> {
  for (const { id, policy_id, state, reason } of await decideCanaries(db, settings))
    log.info('canary', `${id}: ${policy_id} is ${state}: ${reason}`);
}
