// Which policies raters prefer: a ranking with its intervals, the win rates of pairs, and what the ranking depends on.

import '../leaderboard/leaderboard.css';
import { api, ask, type Queue } from '../../api.ts';
import { follow } from '../../path.ts';
import { formatCount, formatFixed } from '../format.ts';
import { Matrix } from '../leaderboard/matrix.tsx';
import { Ranking } from '../leaderboard/ranking.tsx';
import { RatingPlot } from '../leaderboard/rating-plot.tsx';
import { type Leaderboard, namePolicy } from '../leaderboard/words.ts';
import { Check, Choose, Segments } from '../parts/field.tsx';
import { Page, Panel, Stat, Stats } from '../parts/page.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import { useAsk } from '../use-ask.ts';
import { useFilters } from '../use-filters.ts';

const SINCE = [
  ['', 'Of all time'],
  ['1', 'Of the last day'],
  ['7', 'Of the last week'],
  ['30', 'Of the last month'],
] as const;
const DAY = 86_400;

export default function View() {
  const filters = useFilters('ties', 'style', 'queue', 'days', 'unpaused');
  const { values, set, key } = filters;
  const ties = values.ties === 'dropped' ? 'dropped' : 'half';
  const query = {
    ties,
    ...(values.style === '' ? {} : { style: true }),
    ...(values.unpaused === '' ? {} : { exclude_paused: true }),
    ...(values.queue === '' ? {} : { queue: values.queue }),
    ...(values.days === ''
      ? {}
      : { since: String(Math.floor(Date.now() / 1000 / 60) * 60 - Number(values.days) * DAY) }),
  } as const;
  const { data, error, isLoading, reload } = useAsk(() => ask(api.GET('/v1/leaderboard', { params: { query } })), key);
  const queues = useAsk(() => ask(api.GET('/v1/queues', { params: { query: { limit: 100 } } })), '');
  return (
    <Page
      title="Leaderboard"
      text="By all blind votes on comparisons of two policies. 400 points are odds of ten to one."
    >
      <div class="filters" aria-busy={isLoading}>
        <Segments
          label="Ties"
          value={ties}
          options={[
            ['half', 'Ties are half a win'],
            ['dropped', 'Without ties'],
          ]}
          onChange={(value) => set({ ties: value === 'half' ? '' : value })}
        />
        <Choose
          label="Queue"
          value={values.queue}
          options={[['', 'All votes'], ...listQueues(queues.data?.data)]}
          onChange={(queue) => set({ queue })}
        />
        <Choose label="Since" value={values.days} options={SINCE} onChange={(days) => set({ days })} />
        <Check
          label="Take style out"
          isChecked={values.style !== ''}
          onChange={(isChecked) => set({ style: isChecked ? 'out' : '' })}
        />
        <Check
          label="Without paused raters"
          isChecked={values.unpaused !== ''}
          onChange={(isChecked) => set({ unpaused: isChecked ? 'yes' : '' })}
        />
      </div>
      {error && <Failure title="Not ranked" error={error} retry={reload} />}
      {isLoading && !data && <Loading label="Ranking the policies …" />}
      {data && !error && <Board board={data} isFiltered={filters.isSet} clear={filters.clear} />}
    </Page>
  );
}

function listQueues(queues: Queue[] | undefined): [string, string][] {
  return (queues ?? []).map(({ id, name }) => [id, name]);
}

function Board({ board, isFiltered, clear }: { board: Leaderboard; isFiltered: boolean; clear(): void }) {
  const { votes, notes, policies, first_place: first, style } = board;
  if (policies.length === 0)
    return (
      <Panel title="Ranking">
        <Empty
          title="There are no votes between two policies"
          text={
            isFiltered
              ? 'None of the votes that match.'
              : 'A canary makes such comparisons by itself. Or make a queue that compares two policies, and invite raters.'
          }
          {...(isFiltered ? {} : { command: 'npx attune leaderboard' })}
        >
          {isFiltered ? (
            <button type="button" onClick={clear}>
              Clear the filters
            </button>
          ) : (
            <a class="button primary" href="/console/queues" onClick={follow}>
              Make a queue
            </a>
          )}
        </Empty>
      </Panel>
    );
  return (
    <>
      <Panel title="Votes">
        <Stats>
          <Stat label="Counted" value={formatCount(votes.counted)} />
          <Stat label="Ties" value={formatCount(votes.ties)} hint={`${formatCount(votes.both_bad)} both bad`} />
          <Stat label="Raters" value={formatCount(votes.raters)} />
          <Stat label="Prompts" value={formatCount(votes.prompts)} />
          <Stat label="Skipped" value={formatCount(votes.skips)} />
          <Stat label="Of one policy" value={formatCount(votes.same_policy)} hint="not used" />
        </Stats>
      </Panel>
      <Ranking board={board} />
      <div class="columns">
        <Matrix board={board} />
        <RatingPlot board={board} />
      </div>
      {(first || notes.length > 0) && (
        <Panel title="How sure it is">
          <ul class="notes">
            {first && (
              <li>
                Without {formatCount(first.votes)} {first.votes === 1 ? 'vote' : 'votes'} (
                {(100 * first.share).toFixed(1)}%), <strong>{namePolicy(board, first.rival)}</strong> would be first in
                place of <strong>{namePolicy(board, first.policy)}</strong>.
              </li>
            )}
            {notes.map((note) => (
              <li key={note}>{note}</li>
            ))}
          </ul>
        </Panel>
      )}
      {style && (
        <Panel
          title="What style is worth"
          hint="Points for one standard deviation more of it than the other response has"
        >
          <Table
            caption="Points by feature"
            rows={style}
            rowKey={({ feature }) => feature}
            columns={[
              { title: 'Feature', cell: ({ feature }) => feature.replaceAll('_', ' ') },
              {
                title: 'Points',
                isNumber: true,
                cell: ({ points }) => (points === null ? '–' : formatFixed(points, 0)),
              },
              {
                title: '95%',
                isNumber: true,
                cell: ({ interval }) =>
                  interval ? `${formatFixed(interval.low, 0)} to ${formatFixed(interval.high, 0)}` : '–',
              },
            ]}
          />
        </Panel>
      )}
    </>
  );
}
