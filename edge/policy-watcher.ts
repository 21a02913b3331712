// How an edge learns that policies or rounds changed: NOTIFY at once, and a look every second in case one was lost, so
// that a swap reaches every process within two.

import { CHANGES } from '../shared/database/channels.ts';
import type { Connection } from '../shared/database/connect.ts';
import { isUnreachable } from '../shared/postgres-errors.ts';
import { getActivePolicyId } from '../shared/store/registry.ts';
import type { Inference } from './engine/inference.ts';

const LOOK_EVERY = 1000;
/** Milliseconds before a refused policy is tried again; twice as many each time. What was wrong may have been mended. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60_000;

export type PolicyWatcher = {
  /** Resolves at the next news, or after the given time. */
  waitForChange(milliseconds: number): Promise<void>;
  close(): Promise<void>;
};

/** Follows the active policy until closed. A policy that cannot be loaded leaves the old one serving. */
export async function watchPolicies({ db, sql }: Connection, inference: Inference): Promise<PolicyWatcher> {
  const waiting = new Set<() => void>();
  let closed = false;
  let refused = { id: '', pause: 0, until: 0 };
  let following = Promise.resolve();

  const follow = async () => {
    const id = await getActivePolicyId(db);
    if (!id || closed || id === inference.active()?.id) return;
    if (id === refused.id && performance.now() < refused.until) return;
    try {
      await inference.activate(id);
      console.log(`policy: serving ${id}`);
    } catch (error) {
      const pause = id === refused.id ? Math.min(2 * refused.pause, LONGEST_PAUSE) : FIRST_PAUSE;
      refused = { id, pause, until: performance.now() + pause };
      const serving = inference.active()?.id ?? 'no policy';
      console.error(
        `policy: ${id} was refused, ${serving} goes on; again in ${pause / 1000} s: ${(error as Error).message}`,
      );
    }
  };
  const look = () => {
    following = following.then(follow).catch((error: unknown) => {
      if (!isUnreachable(error)) console.error('internal: following policies failed:', error);
    });
    return following;
  };

  const listening = await sql.listen(CHANGES, () => {
    void look();
    for (const wake of waiting) wake();
  });
  const timer = setInterval(look, LOOK_EVERY);
  await look();
  return {
    waitForChange: (milliseconds) =>
      new Promise((resolve) => {
        const wake = () => {
          clearTimeout(timeout);
          waiting.delete(wake);
          resolve();
        };
        const timeout = setTimeout(wake, milliseconds);
        waiting.add(wake);
      }),
    async close() {
      closed = true;
      clearInterval(timer);
      for (const wake of waiting) wake();
      await listening.unlisten().catch(() => {});
      await following;
    },
  };
}
