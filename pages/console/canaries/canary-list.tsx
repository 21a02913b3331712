// All canaries, newest first.

import { api, ask, type Canary } from '../../api.ts';
import { follow } from '../../path.ts';
import { formatCount, formatNumber, formatPercent } from '../format.ts';
import { IdLink, Time } from '../parts/links.tsx';
import { Page, Panel } from '../parts/page.tsx';
import { PolicyLink } from '../parts/policy-link.tsx';
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
  { title: 'Candidate', cell: ({ policy }) => <PolicyLink id={policy} /> },
  { title: 'Against', cell: ({ baseline }) => <PolicyLink id={baseline} /> },
  { title: 'Share', isNumber: true, cell: ({ share }) => formatPercent(share) },
  { title: 'Votes', isNumber: true, cell: ({ votes }) => formatCount(votes.wins + votes.losses) },
  {
    title: 'Win rate',
    isNumber: true,
    cell: ({ evidence }) => (evidence.win_rate ? formatPercent(evidence.win_rate.value, 1) : '–'),
  },
  { title: 'E₊', isNumber: true, cell: ({ evidence }) => formatNumber(10 ** evidence.better) },
  { title: 'E₋', isNumber: true, cell: ({ evidence }) => formatNumber(10 ** evidence.worse) },
];

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
          text="A round’s policy is one where people vote, or with CANARY=on; and any policy that you send."
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
