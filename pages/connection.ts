// Whether the server answers, as the last request found it. While it does not, it is asked every few seconds.

import { useEffect, useState } from 'preact/hooks';

const CHANGED = 'attune-connection';
const ASK_MS = 3000;
let isLost = false;

/** After each request: whether there was no response to it. */
export function noteConnection(lost: boolean): void {
  if (lost === isLost) return;
  isLost = lost;
  window.dispatchEvent(new Event(CHANGED));
}

export function useLostConnection(): boolean {
  const [lost, setLost] = useState(isLost);
  useEffect(() => {
    const follow = () => setLost(isLost);
    window.addEventListener(CHANGED, follow);
    return () => window.removeEventListener(CHANGED, follow);
  }, []);
  useEffect(() => {
    if (!lost) return;
    const ask = () =>
      fetch('/status')
        .then(() => noteConnection(false))
        .catch(() => {});
    const timer = setInterval(() => !document.hidden && ask(), ASK_MS);
    return () => clearInterval(timer);
  }, [lost]);
  return lost;
}
