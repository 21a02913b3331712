// An AbortSignal for one request: aborted when the client disconnects, the time limit passes, or `close` is called.

import { AttuneError } from '../../shared/error.ts';

export type Deadline = {
  signal: AbortSignal;
  /** Whether the time limit caused the abort. */
  hasPassed(): boolean;
  /** Aborts now, and releases the timer and the client's signal. */
  close(): void;
};

export function openDeadline(seconds: number, client: AbortSignal): Deadline {
  const controller = new AbortController();
  let passed = false;
  const close = () => {
    clearTimeout(timer);
    client.removeEventListener('abort', close);
    controller.abort();
  };
  const timer = setTimeout(() => {
    passed = true;
    close();
  }, seconds * 1000);
  client.addEventListener('abort', close);
  if (client.aborted) close();
  return { signal: controller.signal, hasPassed: () => passed, close };
}

/** The error of a request whose client left. */
export function cancelled(): AttuneError {
  return new AttuneError('the request was cancelled', { status: 499, code: 'cancelled', retry: false });
}
