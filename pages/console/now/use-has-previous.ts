import { api, ask } from '../../api.ts';
import { useAsk } from '../use-ask.ts';

/** False where there is no other policy, so that none can have been active before `active`. */
export function useHasPrevious(active: string | undefined): boolean {
  const { data, isLoading } = useAsk(
    () => ask(api.GET('/v1/policies', { params: { query: { limit: 2 } } })),
    active ?? 'none',
  );
  return !isLoading && data?.data.length !== 1;
}
