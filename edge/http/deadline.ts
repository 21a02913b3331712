// The end of a request that has not ended by itself: its client went away, its time is up, or it failed elsewhere.

export type Deadline = {
  /** Fires at the end, whatever brought it. */
  signal: AbortSignal;
  /** Whether it was the time. */
  hasPassed(): boolean;
  /** The end, now; also lets go of timer and client. */
  close(): void;
};

export function openDeadline(seconds: number, client: AbortSignal): Deadline {
  const end = new AbortController();
  let passed = false;
  const close = () => {
    clearTimeout(timer);
    client.removeEventListener('abort', close);
    end.abort();
  };
  const timer = setTimeout(() => {
    passed = true;
    close();
  }, seconds * 1000);
  client.addEventListener('abort', close);
  if (client.aborted) close();
  return { signal: end.signal, hasPassed: () => passed, close };
}
