// One timer for everything that says how long ago something was. It stands still while nobody sees the page.

import { useEffect, useReducer } from 'preact/hooks';

const TICK_MS = 10_000;

const readers = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

/** Renders the component again as time goes by. */
export function useClock(): void {
  const [, tick] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const read = () => tick(undefined);
    readers.add(read);
    turn();
    return () => {
      readers.delete(read);
      turn();
    };
  }, []);
}

function turn(): void {
  if (readers.size > 0 && !document.hidden) timer ??= setInterval(tell, TICK_MS);
  else {
    clearInterval(timer);
    timer = undefined;
  }
}

function tell(): void {
  for (const read of readers) read();
}

document.addEventListener('visibilitychange', () => {
  turn();
  if (!document.hidden) tell();
});
