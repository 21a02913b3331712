// What is read often and may have many rows to read: at most a twentieth of the time goes into it, so that the last value is as
// old as its reading was slow.

import { READING_SHARE } from '../../shared/canary/turn.ts';

/** Gives the last value until its time is over. What fails is read again at once. */
export function pace<Value>(read: () => Promise<Value>): () => Promise<Value> {
  let last: { value: Promise<Value>; untilMs: number } | null = null;
  return () => {
    const startedMs = performance.now();
    if (last && startedMs < last.untilMs) return last.value;
    const current = { value: read(), untilMs: Number.POSITIVE_INFINITY };
    last = current;
    current.value.then(
      () => {
        const now = performance.now();
        current.untilMs = now + (now - startedMs) / READING_SHARE;
      },
      () => {
        current.untilMs = 0;
      },
    );
    return current.value;
  };
}
