// All rounds, newest first.

import { useState } from 'preact/hooks';
import { api, ask, type Round, type Session } from '../../api.ts';
import { formatCount, formatNumber, formatPercent, formatSeconds } from '../format.ts';
import { Check } from '../parts/field.tsx';
import { IdLink, Time } from '../parts/links.tsx';
import { Page, Panel } from '../parts/page.tsx';
import { PolicyLink } from '../parts/policy-link.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { mayUse } from '../session.ts';
import { useFilters } from '../use-filters.ts';
import { usePages } from '../use-pages.ts';
import { getPairs } from './origins.tsx';
import { RoundBadge } from './round-badge.tsx';
import { StartRound } from './start-round.tsx';

const metric = (round: Round, name: string, format: (value: number) => string) => {
  const value = round.metrics?.[name];
  return value === undefined ? '–' : format(value);
};

/** A dry run, and a round before it has selected, have none stored. */
const formatPairs = (pairs: ReturnType<typeof getPairs>) => (pairs ? formatCount(pairs.train) : '–');

const COLUMNS: Column<Round>[] = [
  { title: 'Round', cell: ({ id }) => <IdLink kind="rounds" id={id} /> },
  {
    title: 'State',
    cell: (round) => (
      <>
        <RoundBadge round={round} />
        {round.dry_run && <span class="quiet"> dry run</span>}
      </>
    ),
  },
  { title: 'Began', cell: ({ created_at }) => <Time at={created_at} /> },
  {
    title: 'Took',
    isNumber: true,
    cell: ({ started_at, finished_at }) => (started_at && finished_at ? formatSeconds(finished_at - started_at) : '–'),
  },
  { title: 'Pairs', isNumber: true, cell: (round) => formatPairs(getPairs(round)) },
  {
    title: 'Accuracy',
    isNumber: true,
    cell: (round) => metric(round, 'rewards/accuracies', (value) => formatPercent(value, 1)),
  },
  { title: 'Margin', isNumber: true, cell: (round) => metric(round, 'rewards/margins', formatNumber) },
  { title: 'KL', isNumber: true, cell: (round) => metric(round, 'objective/kl', formatNumber) },
  {
    title: 'Policy',
    cell: ({ policy, reward }) => (policy ? <PolicyLink id={policy} /> : (reward ?? '–')),
  },
  { title: 'By', cell: ({ trigger }) => trigger },
];

export function RoundList({ session }: { session: Session }) {
  const [isStarting, setStarting] = useState(false);
  const rounds = usePages(
    (after) => ask(api.GET('/v1/rounds', { params: { query: { limit: 50, ...(after && { after }) } } })),
    'rounds',
  );
  const { values, set } = useFilters('dry_runs');
  const hasDryRuns = values.dry_runs !== '';
  const shown = rounds.rows.filter((round) => hasDryRuns || !round.dry_run);
  const start = mayUse(session, ['train']) && (
    <button type="button" class="primary" onClick={() => setStarting(true)}>
      Start a round
    </button>
  );
  return (
    <Page title="Rounds" text="Each trains a policy on new pairs, and the gate decides about it." actions={start}>
      {rounds.error && <Failure title="The rounds cannot be read" error={rounds.error} retry={rounds.reload} />}
      {rounds.isLoading && rounds.rows.length === 0 && <Loading />}
      {!rounds.isLoading && !rounds.error && rounds.rows.length === 0 && (
        <Empty
          title="No round yet"
          text="The schedule starts one when there are enough new pairs, and so can you. A dry run says what it would do."
          command="npx attune train --dry-run"
        />
      )}
      {rounds.rows.some((round) => round.dry_run) && (
        <div class="filters">
          <Check
            label="Show dry runs"
            isChecked={hasDryRuns}
            onChange={(isChecked) => set({ dry_runs: isChecked ? 'yes' : '' })}
          />
        </div>
      )}
      {rounds.rows.length > 0 && shown.length === 0 && (
        <Empty
          title="Dry runs only"
          text={`None of the newest ${formatCount(rounds.rows.length)} has trained a policy.`}
        />
      )}
      {shown.length > 0 && (
        <Panel title="All rounds" class="bare">
          <Table caption="Rounds, newest first" columns={COLUMNS} rows={shown} rowKey={({ id }) => id} />
        </Panel>
      )}
      {rounds.hasMore && (
        <div class="actions">
          <button type="button" onClick={rounds.readMore} disabled={rounds.isLoading}>
            Older rounds
          </button>
        </div>
      )}
      {isStarting && <StartRound onClose={() => setStarting(false)} />}
    </Page>
  );
}
