// Seconds that somebody could look at the answers: those in which the page was visible.

export type Stopwatch = ReturnType<typeof createStopwatch>;

export function createStopwatch() {
  let passedMs = 0;
  let startedMs = document.hidden ? null : performance.now();
  const read = () => passedMs + (startedMs === null ? 0 : performance.now() - startedMs);
  const change = () => {
    passedMs = read();
    startedMs = document.hidden ? null : performance.now();
  };
  document.addEventListener('visibilitychange', change);
  return {
    read: () => Math.round(read() / 10) / 100,
    stop: () => document.removeEventListener('visibilitychange', change),
  };
}
