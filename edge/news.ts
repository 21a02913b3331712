// How an edge learns that policies or rounds changed: NOTIFY at once, and a look every two seconds in case one was lost.

import { type Connection, isUnreachable } from '../shared/database/connect.ts';
import { activePolicyId, NEWS } from '../shared/policy/registry.ts';
import type { Inference } from './generation/inference.ts';

const LOOK_EVERY = 2000;

export type News = {
  /** Resolves at the next news, or after the given time. */
  wait(milliseconds: number): Promise<void>;
  close(): Promise<void>;
};

/** Follows the active policy until closed. A policy that cannot be loaded leaves the old one serving. */
export async function followPolicies({ db, sql }: Connection, inference: Inference): Promise<News> {
  const waiting = new Set<() => void>();
  let closed = false;
  let refused = '';
  let following = Promise.resolve();

  const follow = async () => {
    const id = await activePolicyId(db);
    if (!id || closed || id === inference.active()?.id || id === refused) return;
    try {
      await inference.activate(id);
      console.log(`policy: serving ${id}`);
    } catch (error) {
      refused = id;
      console.error(
        `policy: ${id} was refused, ${inference.active()?.id ?? 'no policy'} goes on: ${(error as Error).message}`,
      );
    }
  };
  const look = () => {
    following = following.then(follow).catch((error: unknown) => {
      if (!isUnreachable(error)) console.error('internal: following policies failed:', error);
    });
    return following;
  };

  const listening = await sql.listen(NEWS, () => {
    void look();
    for (const wake of waiting) wake();
  });
  const timer = setInterval(look, LOOK_EVERY);
  await look();
  return {
    wait: (milliseconds) =>
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
