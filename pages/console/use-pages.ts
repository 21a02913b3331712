// A list that is read page by page: what was read stays, and the next page is added to it.

import { useEffect, useRef, useState } from 'preact/hooks';
import type { ApiError } from '../api.ts';

type Page<Row> = { data: Row[]; has_more: boolean; last_id: string | null };

export type Pages<Row> = {
  rows: Row[];
  error: ApiError | null;
  isLoading: boolean;
  hasMore: boolean;
  readMore(): void;
  reload(): void;
};

/** `key`: changes with what is listed. */
export function usePages<Row>(read: (after: string | undefined) => Promise<Page<Row>>, key: string): Pages<Row> {
  const [state, setState] = useState({
    rows: [] as Row[],
    error: null as ApiError | null,
    isLoading: true,
    hasMore: false,
    last: undefined as string | undefined,
  });
  const latest = useRef(0);
  const load = (kept: Row[], after: string | undefined) => {
    const turn = ++latest.current;
    setState((before) => ({ ...before, rows: kept, isLoading: true, error: null }));
    read(after).then(
      (page) => {
        if (turn !== latest.current) return;
        const rows = [...kept, ...page.data];
        setState({ rows, error: null, isLoading: false, hasMore: page.has_more, last: page.last_id ?? undefined });
      },
      (error) => {
        if (turn === latest.current) setState((before) => ({ ...before, error: error as ApiError, isLoading: false }));
      },
    );
  };
  useEffect(() => load([], undefined), [key]);
  const { last, ...shown } = state;
  return { ...shown, readMore: () => load(state.rows, last), reload: () => load([], undefined) };
}
