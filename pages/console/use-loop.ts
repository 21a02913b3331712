// What the loop is doing, as it happens: by server-sent events, and by asking every few seconds while there are none.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, api, ask, type Loop, parseEvent } from '../api.ts';

const POLL_MS = 3000;
const REOPEN_MS = 20_000;
/** A stream is authenticated when it begins: one that goes on would outlive signing out, in this tab or another. */
const RENEW_MS = 60_000;

export type Feed = {
  loop: Loop | null;
  /** of the last question; null once there is an answer */
  error: ApiError | null;
  /** polling: there is no stream, and what is shown is a few seconds old */
  connection: 'connecting' | 'live' | 'polling';
};

export function useLoop(): Feed {
  const [feed, setFeed] = useState<Feed>({ loop: null, error: null, connection: 'connecting' });
  useEffect(() => follow((change) => setFeed((before) => ({ ...before, ...change }))), []);
  return feed;
}

/** Returns what ends it. */
function follow(update: (change: Partial<Feed>) => void): () => void {
  let stream: EventSource | null = null;
  let poll: ReturnType<typeof setInterval> | undefined;
  let reopen: ReturnType<typeof setTimeout> | undefined;

  const question = () =>
    ask(api.GET('/v1/loop')).then(
      (loop) => poll !== undefined && update({ loop, error: null }),
      (error) => poll !== undefined && update({ error: error as ApiError }),
    );
  const stopPolling = () => {
    clearInterval(poll);
    poll = undefined;
  };
  const startPolling = () => {
    update({ connection: 'polling' });
    if (poll !== undefined) return;
    poll = setInterval(question, POLL_MS);
    void question();
  };
  const openAfter = (delayMs: number) => {
    clearTimeout(reopen);
    reopen = setTimeout(open, delayMs);
  };
  const open = () => {
    stream?.close();
    stream = new EventSource('/v1/loop/events');
    openAfter(RENEW_MS);
    stream.onmessage = ({ data }) => {
      const state = parseEvent<Loop>(data);
      if (state instanceof ApiError) return startPolling();
      stopPolling();
      update({ loop: state, error: null, connection: 'live' });
    };
    stream.onerror = () => {
      startPolling();
      // The browser connects again by itself, unless it was refused.
      if (stream?.readyState === EventSource.CLOSED) openAfter(REOPEN_MS);
    };
  };
  const close = () => {
    stream?.close();
    stream = null;
    clearTimeout(reopen);
    stopPolling();
  };
  // A browser has six connections to a server over HTTP/1.1: a page that nobody sees holds none.
  const turn = () => {
    if (document.hidden) close();
    else if (!stream) open();
  };
  document.addEventListener('visibilitychange', turn);
  turn();
  return () => {
    document.removeEventListener('visibilitychange', turn);
    close();
  };
}
