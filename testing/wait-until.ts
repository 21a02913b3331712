// Polling for asynchronous effects in tests.

import { setTimeout as sleep } from 'node:timers/promises';

const POLL_INTERVAL_MS = 20;

/** Returns the first truthy result of `check`. Throws after `timeoutMs`. */
export async function waitUntil<T>(
  check: () => T | Promise<T>,
  timeoutMs = 30_000,
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    const result = await check();
    if (result) return result as NonNullable<Exclude<T, false>>;
    await sleep(POLL_INTERVAL_MS);
  }
  throw new Error(`condition not met within ${timeoutMs} ms`);
}
