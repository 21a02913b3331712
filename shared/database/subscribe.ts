// Runs a handler whenever a channel is notified. Notifications can be lost (a cut connection, a writer that sends none),
// so a timer runs the handler as well. postgres.js repeats LISTEN after its connection was cut.

import { AttuneError } from '../error.ts';
import { log } from '../log.ts';
import { isUnreachable } from '../postgres-errors.ts';
import type { Connection } from './connect.ts';

export type Subscription = {
  /** Resolves when the handler has run once. */
  firstRun: Promise<void>;
  /** Resolves at the next notification, or after the timeout. */
  waitForChange(timeoutMs: number): Promise<void>;
  /** Stops, and waits for a handler that is running. */
  close(): Promise<void>;
};

/** `name` prefixes errors in the log; `pollIntervalMs` counts from the end of the last run. */
type SubscribeOptions = { name: string; pollIntervalMs: number };

/**
 * Runs the handler once the channel is listened to, at each notification, and after each poll interval; never twice at
 * a time. Notifications during a run cause one more run, unless it failed: a failed run is retried at the next poll or notification.
 */
export async function subscribe(
  { sql }: Pick<Connection, 'sql'>,
  channel: string,
  { name, pollIntervalMs }: SubscribeOptions,
  handler: () => Promise<void>,
): Promise<Subscription> {
  const waiters = new Set<() => void>();
  let isClosed = false;
  let isRunning = false;
  let isNotified = false;
  let running = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;

  async function runUntilIdle(): Promise<void> {
    do {
      isNotified = false;
      try {
        await handler();
      } catch (error) {
        isNotified = false;
        if (!isClosed) logFailure(name, error);
      }
    } while (isNotified && !isClosed);
    isRunning = false;
    if (!isClosed) timer = setTimeout(run, pollIntervalMs);
  }

  function run(): void {
    if (isClosed) return;
    isNotified = true;
    if (isRunning) return;
    clearTimeout(timer);
    isRunning = true;
    running = runUntilIdle();
  }

  function wake(): void {
    run();
    for (const wakeWaiter of waiters) wakeWaiter();
  }

  // The last argument is called whenever LISTEN succeeds: now and after each reconnection.
  const listening = await sql.listen(channel, wake, wake);
  return {
    firstRun: running,
    waitForChange: (timeoutMs) =>
      new Promise((resolve) => {
        const wakeWaiter = () => {
          clearTimeout(timeout);
          waiters.delete(wakeWaiter);
          resolve();
        };
        const timeout = setTimeout(wakeWaiter, timeoutMs);
        waiters.add(wakeWaiter);
      }),
    async close() {
      isClosed = true;
      clearTimeout(timer);
      for (const wakeWaiter of waiters) wakeWaiter();
      await running;
      await listening.unlisten().catch(() => {});
    },
  };
}

/** An unreachable Postgres is not logged: the next run retries. */
function logFailure(name: string, error: unknown): void {
  if (isUnreachable(error)) return;
  if (error instanceof AttuneError) log.error(name, error.message);
  else log.error(name, 'internal: unexpected error', error);
}
