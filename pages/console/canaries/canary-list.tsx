// All canaries, newest first.

import { api, ask, type Canary } from '../../api.ts';
import { follow } from '../../path.ts';
import { formatCount, formatPercent } from '../format.ts';
import { IdLink, Time } from '../parts/links.tsx';
import { Page, Panel } from '../parts/page.tsx';
import { PolicyLink } from '../parts/policy-link.tsx';
import { Prose } from '../parts/prose.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { usePages } from '../use-pages.ts';
import { CanaryBadge } from './canary-badge.tsx';

const COLUMNS: Column<Canary>[] = [
  {
    title: 'Canary',
    cell: ({ id }) => (
      <IdLink kind="canaries" id={id}>
        {id.slice(-6)}
      </IdLink>
    ),
  },
  { title: 'State', cell: ({ state }) => <CanaryBadge state={state} /> },
  { title: 'Began', cell: ({ created }) => <Time at={created} /> },
  {
    title: 'Candidate',
    cell: ({ policy, baseline }) => (
      <>
        <PolicyLink id={policy} />
        <br />
        <span class="quiet">
          against <PolicyLink id={baseline} />
        </span>
      </>
    ),
  },
  {
    title: 'Votes for it',
    isNumber: true,
    cell: ({ votes: { wins, losses } }) =>
      wins + losses === 0 ? '–' : `${formatCount(wins)} of ${formatCount(wins + losses)}`,
  },
  {
    title: 'Why',
    cell: (canary) => (
      <div class="why">
        <Prose text={canary.reason ?? describeStart(canary)} />
      </div>
    ),
  },
];

/** Of one that is not decided. One that only watches has no share of the requests. */
function describeStart({ share, created_by: actor }: Canary): string {
  return share === 0 ? `made active by ${actor}` : `begun by ${actor}, with ${formatPercent(share)} of the requests`;
}

export function CanaryList() {
  const canaries = usePages(
    (after) => ask(api.GET('/v1/canaries', { params: { query: { limit: 50, ...(after && { after }) } } })),
    'canaries',
  );
  const isEmpty = !canaries.isLoading && !canaries.error && canaries.rows.length === 0;
  return (
    <Page
      title="Canaries"
      text="A policy gets a share of the requests, and people compare it blind with the active one before it replaces it."
    >
      {canaries.error && <Failure title="The canaries cannot be read" error={canaries.error} retry={canaries.reload} />}
      {canaries.isLoading && canaries.rows.length === 0 && <Loading />}
      {isEmpty && (
        <Empty
          title="No canary yet"
          text="A round’s policy becomes a canary once people vote, or always with CANARY=on. You can also try any other policy."
          command="npx attune canary start pol_…"
        >
          <a class="button" href="/console/policies" onClick={follow}>
            Choose a policy
          </a>
        </Empty>
      )}
      {canaries.rows.length > 0 && (
        <Panel title="All canaries" class="bare">
          <Table caption="Canaries, newest first" columns={COLUMNS} rows={canaries.rows} rowKey={({ id }) => id} />
        </Panel>
      )}
      {canaries.hasMore && (
        <div class="actions">
          <button type="button" onClick={canaries.readMore} disabled={canaries.isLoading}>
            Older canaries
          </button>
        </div>
      )}
    </Page>
  );
}
