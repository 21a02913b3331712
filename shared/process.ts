// The process around a program: exit codes, signals, and whether another process is alive.

import { AttuneError, getErrorMessage } from './error.ts';
import { log } from './log.ts';
import { isUnreachable } from './postgres-errors.ts';

/** Runs a program. An AttuneError is one line of the log; any error exits with 1, also one outside of every promise. */
export async function runProgram(program: () => Promise<unknown>): Promise<void> {
  // Disables ONNX Runtime's telemetry, which must happen before the first session; worker threads inherit it.
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  process.on('uncaughtException', (error) => {
    log.error('attune', 'internal: uncaught error', error);
    process.exit(1);
  });
  try {
    await program();
  } catch (error) {
    if (error instanceof AttuneError) log.error('attune', error.message);
    else if (isUnreachable(error))
      log.error(
        'attune',
        `Postgres cannot be reached (${getErrorMessage(error)}); check DATABASE_URL (\`attune doctor\` tests it)`,
      );
    else log.error('attune', 'internal: unexpected error', error);
    process.exit(1);
  }
}

const REPEATED_SIGNAL_MS = 1000;

/**
 * Resolves at the first SIGINT, SIGTERM or SIGHUP. A later one exits at once; but npm forwards a Ctrl-C that the terminal
 * has sent already, so signals within a second count as one.
 */
export function waitForSignal(): Promise<string> {
  return new Promise((resolve) => {
    let firstMs = 0;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (firstMs === 0) {
          firstMs = performance.now();
          resolve(signal);
        } else if (performance.now() - firstMs > REPEATED_SIGNAL_MS) process.exit(130);
      });
    }
  });
}

/** The result of `work`, or a rejection at the first signal, so that the caller's `finally` blocks run. */
export function rejectOnSignal<T>(work: Promise<T>): Promise<T> {
  const stopped = waitForSignal().then((signal): never => {
    throw new AttuneError(`stopped (${signal})`);
  });
  return Promise.race([work, stopped]);
}

/** Whether a process of this machine is running; one of another user counts too. */
export function isProcessAlive(pid: number): boolean {
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
