// Delivers webhooks in a Node process: at NOTIFY, and at a look every few seconds for tries that are due again. Any
// number of processes may do so; a round or a request never waits for it.

import { CHANGES } from '../database/channels.ts';
import { type Connection, type Database, isUnreachable } from '../database/connect.ts';
import type { Settings } from '../settings.ts';
import { deliver, takeDue } from './delivery.ts';
import { readTarget, type Target } from './target.ts';

const LOOK_EVERY = 2000;
/** Events that are sent side by side. */
const AT_ONCE = 10;

export type Webhooks = { close(): Promise<void> };

/** Delivers until closed; does nothing where no WEBHOOK_URL is set. */
export async function followWebhooks({ db, sql }: Connection, settings: Settings): Promise<Webhooks> {
  const target = readTarget(settings);
  if (!target) return { close: async () => {} };
  const stop = new AbortController();
  let looking = Promise.resolve();
  let isAsked = false;
  const look = () => {
    if (isAsked || stop.signal.aborted) return;
    isAsked = true;
    looking = looking.then(async () => {
      isAsked = false;
      await deliverDue(db, target, stop.signal).catch((error: unknown) => {
        if (!isUnreachable(error)) console.error('internal: delivering webhooks failed:', error);
      });
    });
  };
  const listening = await sql.listen(CHANGES, look);
  const timer = setInterval(look, LOOK_EVERY);
  look();
  return {
    async close() {
      clearInterval(timer);
      stop.abort();
      await looking;
      await listening.unlisten().catch(() => {});
    },
  };
}

async function deliverDue(db: Database, target: Target, stopped: AbortSignal): Promise<void> {
  while (!stopped.aborted) {
    const events = await takeDue(db, AT_ONCE);
    if (events.length === 0) return;
    await Promise.all(events.map((event) => deliver(db, target, event, stopped)));
  }
}
