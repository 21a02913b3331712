// The ranking: each policy with its rating and its interval, drawn to one scale.

import { formatCount, formatPercent } from '../format.ts';
import { downloadCsv } from '../parts/download.ts';
import { IdLink } from '../parts/links.tsx';
import { Panel } from '../parts/page.tsx';
import { Table } from '../parts/table.tsx';
import { formatPoints, type Leaderboard, namePolicy, type Ranked } from './words.ts';

export function Ranking({ board }: { board: Leaderboard }) {
  const { policies, ties } = board;
  const scale = findScale(policies.map(({ ratings }) => ratings[ties]));
  const hasGroups = policies.some(({ ratings }) => ratings[ties].group !== policies[0]!.ratings[ties].group);
  const download = () =>
    downloadCsv('leaderboard', {
      columns: ['rank', 'policy', 'name', 'rating', 'low', 'high', 'win rate', 'wins', 'losses', 'ties', 'votes'],
      rows: policies.map(({ ratings, policy, name, win_rate, wins, losses, ties: tied, votes }) => {
        const { rank, rating, interval } = ratings[ties];
        const { low = null, high = null } = interval ?? {};
        return [rank, policy, name, rating, low, high, win_rate, wins, losses, tied, votes];
      }),
    });
  return (
    <Panel
      title="Ranking"
      hint={
        hasGroups
          ? 'Ratings of two groups cannot be compared: votes do not connect them'
          : 'Points above the first policy, with 95% intervals'
      }
      actions={
        <button type="button" class="plain small" onClick={download}>
          CSV
        </button>
      }
    >
      <Table
        caption="Ranking of the policies"
        rows={policies}
        rowKey={({ policy }) => policy}
        columns={[
          { title: 'Rank', cell: ({ ratings }) => <Rank rating={ratings[ties]} hasGroups={hasGroups} /> },
          {
            title: 'Policy',
            cell: ({ policy }) =>
              policy === 'given' ? (
                'given responses'
              ) : (
                <IdLink kind="policies" id={policy}>
                  {namePolicy(board, policy)}
                </IdLink>
              ),
          },
          {
            title: 'Rating',
            isNumber: true,
            cell: ({ ratings }) => <strong>{formatPoints(ratings[ties].rating)}</strong>,
          },
          {
            title: '95%',
            isNumber: true,
            cell: ({ ratings: { [ties]: rating } }) =>
              rating.interval ? `${formatPoints(rating.interval.low)} to ${formatPoints(rating.interval.high)}` : '–',
          },
          { title: 'Interval', cell: ({ ratings }) => <Drawn rating={ratings[ties]} scale={scale} /> },
          { title: 'Win rate', isNumber: true, cell: ({ win_rate }) => formatPercent(win_rate) },
          {
            title: 'Won, lost, tied',
            isNumber: true,
            cell: ({ wins, losses, ties: tied }) =>
              `${formatCount(wins)}, ${formatCount(losses)}, ${formatCount(tied)}`,
          },
          { title: 'Votes', isNumber: true, cell: ({ votes }) => formatCount(votes) },
        ]}
      />
    </Panel>
  );
}

type Rating = Ranked['ratings']['half'];

function Rank({ rating: { rank, rank_interval, group }, hasGroups }: { rating: Rating; hasGroups: boolean }) {
  const { best, worst } = rank_interval ?? { best: rank, worst: rank };
  return (
    <span class="rank">
      {rank}
      {best !== worst && <span class="quiet">{` ${best}–${worst}`}</span>}
      {hasGroups && <span class="tag">group {group}</span>}
    </span>
  );
}

type Scale = { low: number; high: number };

function findScale(ratings: Rating[]): Scale {
  const ends = [
    0,
    ...ratings.flatMap(({ rating, interval }) => [rating ?? 0, interval?.low ?? 0, interval?.high ?? 0]),
  ];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const margin = Math.max(10, 0.06 * (high - low));
  return { low: low - margin, high: high + margin };
}

/** Its numbers are in the cells beside it. */
function Drawn({ rating: { rating, interval }, scale }: { rating: Rating; scale: Scale }) {
  if (rating === null) return null;
  const place = (at: number) => `${(100 * (at - scale.low)) / (scale.high - scale.low)}%`;
  return (
    <svg class="rating" width="100%" height="20" aria-hidden="true">
      <line class="zero" x1={place(0)} x2={place(0)} y1="0" y2="20" />
      {interval && <line class="range" x1={place(interval.low)} x2={place(interval.high)} y1="10" y2="10" />}
      <circle cx={place(rating)} cy="10" r="4" />
    </svg>
  );
}
