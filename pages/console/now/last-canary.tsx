// How the last canary ended, where none is running.

import { api, ask } from '../../api.ts';
import { follow } from '../../path.ts';
import { CanaryBadge } from '../canaries/canary-badge.tsx';
import { formatCount } from '../format.ts';
import { IdLink } from '../parts/links.tsx';
import { PolicyLink } from '../parts/policy-link.tsx';
import { Prose } from '../parts/prose.tsx';
import { useAsk } from '../use-ask.ts';

/** Among them is one that was tried, unless policies were promoted without one several times since. */
const MAX_READ = 5;

/** `watch`: the id of the one that is watched, whose end changes how the last one ended. */
export function LastCanary({ watch }: { watch: string | undefined }) {
  const { data } = useAsk(
    () => ask(api.GET('/v1/canaries', { params: { query: { limit: MAX_READ } } })),
    watch ?? 'none',
  );
  if (!data) return null;
  // Without a share of the requests it was only watched.
  const last = data.data.find(({ share }) => share > 0);
  if (!last)
    return (
      <p class="quiet">
        A policy is tried on a share of the requests where enough people vote, or when you{' '}
        <a href="/console/policies" onClick={follow}>
          send one
        </a>
        .
      </p>
    );
  const { wins, losses } = last.votes;
  return (
    <p class="quiet">
      Last: <PolicyLink id={last.policy} /> <CanaryBadge state={last.state} />{' '}
      <Prose text={last.reason ?? `${formatCount(wins)} of ${formatCount(wins + losses)} votes are for it`} />.{' '}
      <IdLink kind="canaries" id={last.id}>
        All about it
      </IdLink>
    </p>
  );
}
