// Which part of a page is shown, by the browser's address.

import { useEffect, useState } from 'preact/hooks';

const MOVED = 'attune-moved';

/** Path and query. */
export function useAddress(): URL {
  const [href, setHref] = useState(location.href);
  useEffect(() => {
    const follow = () => setHref(location.href);
    for (const name of ['popstate', MOVED]) window.addEventListener(name, follow);
    return () => {
      for (const name of ['popstate', MOVED]) window.removeEventListener(name, follow);
    };
  }, []);
  return new URL(href);
}

/** `path` may have a query. `isReplaced`: Back does not come to where one was. */
export function go(path: string, isReplaced = false): void {
  if (path === location.pathname + location.search) return;
  if (isReplaced) history.replaceState(null, '', path);
  else history.pushState(null, '', path);
  window.dispatchEvent(new Event(MOVED));
}

/** For links: follows them here, unless they are opened elsewhere. */
export function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const { pathname, search } = event.currentTarget as HTMLAnchorElement;
  go(pathname + search);
}
