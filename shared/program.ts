// What the processes that people start have in common: how they are told to stop, and how they say what went wrong.

import { isUnreachable } from './database/connect.ts';
import { surviveDriverFault } from './database/driver-fault.ts';
import { AttuneError } from './error.ts';

/** Runs a program. Errors that people can mend are one line; any error ends the process with 1. */
export async function runProgram(work: () => Promise<unknown>): Promise<void> {
  surviveDriverFault();
  // ONNX Runtime reports its use to its maker unless told not to before the first session; threads inherit it.
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  try {
    await work();
  } catch (error) {
    if (error instanceof AttuneError) console.error(`attune: ${error.message}`);
    else if (isUnreachable(error))
      console.error('attune: Postgres cannot be reached; see that DATABASE_URL is right (`attune doctor` tries it)');
    else console.error('attune: internal:', error);
    process.exit(1);
  }
}

const IMPATIENCE = 1000;

/**
 * Resolves at the first signal to stop. A later one ends the process at once; but npm hands on a Ctrl-C that the
 * terminal has sent already, so what comes within a second is the same one.
 */
export function untilStopped(): Promise<string> {
  return new Promise((resolve) => {
    let first = 0;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (first === 0) {
          first = performance.now();
          resolve(signal);
        } else if (performance.now() - first > IMPATIENCE) process.exit(130);
      });
    }
  });
}

/** The work's result, or an error at the first signal, so that what was started is put away. */
export function orStopped<T>(work: Promise<T>): Promise<T> {
  const stopped = untilStopped().then((signal): never => {
    throw new AttuneError(`stopped (${signal})`);
  });
  return Promise.race([work, stopped]);
}
