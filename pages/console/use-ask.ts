// Asks the API for what a view shows, again when the view asks for something else, on demand, and at intervals while the
// page is visible. What was shown stays until the next answer is there.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { ApiError } from '../api.ts';

export type Asked<T> = { data: T | null; error: ApiError | null; isLoading: boolean; reload(): void };

/** `key`: changes with what is asked for. `refreshMs`: 0: only on demand. */
export function useAsk<T>(request: () => Promise<T>, key: string, refreshMs = 0): Asked<T> {
  const [state, setState] = useState<Omit<Asked<T>, 'reload'>>({ data: null, error: null, isLoading: true });
  const latest = useRef(0);
  const current = useRef(request);
  current.current = request;

  const reload = useCallback(() => {
    const turn = ++latest.current;
    setState((before) => (before.isLoading ? before : { ...before, isLoading: true }));
    const settle = (result: Partial<Asked<T>>) => {
      if (turn === latest.current) setState((before) => ({ ...before, ...result, isLoading: false }));
    };
    current.current().then(
      (data) => settle({ data, error: null }),
      (error) => settle({ error: error as ApiError }),
    );
  }, []);

  useEffect(() => {
    setState({ data: null, error: null, isLoading: true });
    reload();
  }, [key, reload]);
  useEffect(() => {
    if (refreshMs === 0) return;
    const timer = setInterval(() => !document.hidden && reload(), refreshMs);
    return () => clearInterval(timer);
  }, [refreshMs, reload]);

  return { ...state, reload };
}
