// What raters are called: people by their names, end users as the backend names them.

import { api, ask } from '../api.ts';
import { shortenId } from './parts/links.tsx';
import { useAsk } from './use-ask.ts';

/** Those of the newest hundred; another has its id. */
export function useRaterNames(): (rater: string) => string {
  const { data } = useAsk(() => ask(api.GET('/v1/raters', { params: { query: { limit: 100 } } })), '');
  return (rater) => data?.data.find(({ id }) => id === rater)?.name ?? formatRater(rater);
}

/** `user:ann` is an end user that a backend names. */
export function formatRater(rater: string): string {
  return /^(rater|key)_/.test(rater) ? shortenId(rater) : rater.replace(/^user:/, '');
}
