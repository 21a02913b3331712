// attune leaderboard: prints which policies raters prefer.

import { type Command, Option } from 'commander';
import { tenantName } from '../shared/access/names.ts';
import { DEFAULT_TENANT } from '../shared/access/owner.ts';
import type { Interval } from '../shared/database/round-types.ts';
import {
  createLeaderboard,
  type FirstPlace,
  type Leaderboard,
  type Rating,
} from '../shared/leaderboard/leaderboard.ts';
import type { VoteFilter } from '../shared/leaderboard/read-votes.ts';
import type { Ties } from '../shared/leaderboard/tally.ts';
import { withContext } from './context.ts';
import { parseBy, parseTime } from './parse-argument.ts';
import { printTable } from './print-table.ts';

type Options = VoteFilter & { ties: Ties; style: boolean; json: boolean };

export function addLeaderboard(program: Command): void {
  program
    .command('leaderboard')
    .addOption(
      new Option('--ties <ties>', 'what the order is by: ties as half a win, or left out')
        .choices(['half', 'dropped'])
        .default('half'),
    )
    .option('--style', 'take the length and the Markdown of responses out of the ratings', false)
    .option('--queue <queue>', 'the id of a queue; default: all votes')
    .option('--since <time>', 'an ISO 8601 date or time: votes from then', parseTime)
    .option('--until <time>', 'an ISO 8601 date or time: votes before then', parseTime)
    .option('--exclude-paused', 'without the votes in queues of raters who are paused there', false)
    .addOption(new Option('--tenant <tenant>', 'whose votes').argParser(parseBy(tenantName)).default(DEFAULT_TENANT))
    .option('--json', 'print it as GET /v1/leaderboard answers', false)
    .description('print which policies raters prefer, with 95% intervals')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune leaderboard\n  $ npx attune leaderboard --style --since 2026-01-01\n',
    )
    .action(({ ties, style, json, ...filter }: Options) =>
      withContext(async ({ db }) => {
        const board = await createLeaderboard(db, filter, { ties, style });
        if (json) console.log(JSON.stringify(board, null, 2));
        else printLeaderboard(board);
      }),
    );
}

function printLeaderboard({ policies, ties, votes, first_place: first, style, notes }: Leaderboard): void {
  if (policies.length > 0) {
    const other = ties === 'half' ? 'dropped' : 'half';
    const header = ['rank', 'policy', 'name', 'rating', '95%', 'ranks', 'votes', 'win rate', `ties ${other}`];
    printTable(
      header,
      policies.map(({ policy, name, ratings, votes, win_rate }) => {
        const { rating, interval, rank, rank_interval } = ratings[ties];
        return [
          String(rank),
          policy,
          name ?? '',
          formatRating(rating),
          formatInterval(interval),
          formatRanks(rank_interval),
          String(votes),
          `${(100 * win_rate).toFixed(1)}%`,
          formatRating(ratings[other].rating),
        ];
      }),
    );
    console.log(
      `\nvotes: ${votes.counted}, of them ties: ${votes.ties}, both bad: ${votes.both_bad}; raters: ${votes.raters}; prompts: ${votes.prompts}`,
    );
  }
  for (const { feature, points, interval } of style ?? [])
    if (points !== null) console.log(`style: ${feature} ${formatRating(points)} ${formatInterval(interval)}`);
  if (first) console.log(describeFirstPlace(first));
  for (const note of notes) console.log(`note: ${note}`);
}

const formatRating = (rating: Rating['rating']) =>
  rating === null ? '–' : `${rating > 0 ? '+' : ''}${rating.toFixed(0).replace('-0', '0')}`;

const formatInterval = (interval: Interval | null) =>
  interval ? `[${formatRating(interval.low)}, ${formatRating(interval.high)}]` : '';

const formatRanks = (ranks: Rating['rank_interval']) =>
  ranks ? (ranks.best === ranks.worst ? `${ranks.best}` : `${ranks.best}–${ranks.worst}`) : '';

function describeFirstPlace({ policy, rival, votes, share }: FirstPlace): string {
  return `first place: without ${votes} of the votes (${(100 * share).toFixed(2)}%) ${rival} would be before ${policy}`;
}
