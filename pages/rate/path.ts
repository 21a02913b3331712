// Which part of the page is shown, by the browser's address: /rate, /rate/que_…, /rate/arena.

import { useEffect, useState } from 'preact/hooks';

export const RATE = '/rate';
export const ARENA = '/rate/arena';

const MOVED = 'attune-moved';

export function usePath(): string {
  const [path, setPath] = useState(location.pathname);
  useEffect(() => {
    const follow = () => setPath(location.pathname);
    for (const name of ['popstate', MOVED]) window.addEventListener(name, follow);
    return () => {
      for (const name of ['popstate', MOVED]) window.removeEventListener(name, follow);
    };
  }, []);
  return path;
}

export function go(path: string): void {
  if (path === location.pathname) return;
  history.pushState(null, '', path);
  window.dispatchEvent(new Event(MOVED));
}

/** For links: follows them here, unless they are opened elsewhere. */
export function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go((event.currentTarget as HTMLAnchorElement).pathname);
}
