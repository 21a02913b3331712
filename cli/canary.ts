// attune canary: lists, shows, starts and cancels canaries.

import { type Command, InvalidArgumentError } from 'commander';
import { desc, eq } from 'drizzle-orm';
import { COMMAND } from '../shared/access/audit.ts';
import { cancelCanary, getCanary, startCanary } from '../shared/canary/canaries.ts';
import { describeCanary } from '../shared/canary/describe.ts';
import type { Database } from '../shared/database/connect.ts';
import { canaries, rounds } from '../shared/database/schema.ts';
import { AttuneError } from '../shared/error.ts';
import type { Settings } from '../shared/settings.ts';
import { type CanaryRow, findOpenCanaries } from '../shared/store/canary-states.ts';
import { getPolicy } from '../shared/store/registry.ts';
import { assertAvailable } from './assert-available.ts';
import { withContext } from './context.ts';
import { formatMinute, printTable } from './print-table.ts';

const COLUMNS = ['id', 'policy', 'baseline', 'state', 'started', 'reason'];
const MAX_SHARE = 0.5;

export function addCanary(program: Command): void {
  const group = program
    .command('canary')
    .description('list, show, start and cancel canaries: policies that are tried on a share of the traffic')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune canary list\n  $ npx attune canary show\n  $ npx attune canary start pol_… --share 0.2\n  $ npx attune canary cancel\n',
    );

  group
    .command('list')
    .description('list all canaries, newest first')
    .action(() =>
      withContext(async ({ db }) => {
        const rows = await db.select().from(canaries).orderBy(desc(canaries.id));
        if (rows.length === 0)
          return console.log(
            'no canaries yet; a round starts one where people vote (CANARY), or `attune canary start`',
          );
        printTable(
          COLUMNS,
          rows.map((row) => [
            row.id,
            row.policy_id,
            row.baseline_id,
            row.state,
            formatMinute(row.created_at),
            row.reason ?? '',
          ]),
        );
      }),
    );

  group
    .command('show')
    .argument('[id]', 'id of the canary; default: the one that runs, or the watched policy’s')
    .description('print the votes on a canary, the evidence, and what its guards say')
    .action((id: string | undefined) =>
      withContext(async ({ db }, _localStore, { settings }) => {
        const row = await find(db, id, 'show');
        for (const line of await describe(db, settings, row)) console.log(line);
      }),
    );

  group
    .command('start')
    .argument('<policy>', 'id of the policy')
    .option('--share <share>', 'of the completions, at most 0.5; default: CANARY_SHARE', parseShare)
    .description('make a policy a canary: it is tried against the active one, and promoted or rolled back by itself')
    .action((policyId: string, options: { share?: number }) =>
      withContext(async ({ db }, localStore, { settings }) => {
        await getPolicy(db, policyId);
        await assertAvailable(localStore, settings, policyId);
        const share = options.share ?? settings.CANARY_SHARE;
        const row = await db
          .transaction((transaction) => startCanary(transaction, { policyId, share, actor: COMMAND }))
          .catch((error) => {
            throw adviseCommand(error);
          });
        console.log(`${row.id}: ${policyId} gets ${100 * share}% of the completions beside ${row.baseline_id}`);
      }),
    );

  group
    .command('cancel')
    .argument('[id]', 'id of the canary; default: the one that runs, or the watched policy’s')
    .description('end a canary: the active policy stays, also if it is the one that is watched')
    .action((id: string | undefined) =>
      withContext(async ({ db }) => {
        const { id: found } = await find(db, id, 'cancel');
        const change = { actor: COMMAND, reason: 'cancelled by a command' };
        const row = await db.transaction((transaction) => cancelCanary(transaction, found, change));
        if (!row) {
          const { state, reason } = await getCanary(db, found);
          throw new AttuneError(`canary cancel: ${found} has ended: ${state}, ${reason}`, { status: 409 });
        }
        console.log(
          row.promoted_at ? `${row.policy_id} is watched no longer` : `${row.policy_id} is a canary no longer`,
        );
      }),
    );
}

/** The API's refusals name its requests. */
function adviseCommand(error: unknown): unknown {
  if (!(error instanceof AttuneError) || error.code !== 'canary_running') return error;
  const { message, status, code } = error;
  return new AttuneError(message.replace(/POST \/v1\/canaries\/\S+/, 'npx attune canary cancel'), { status, code });
}

async function find(db: Database, id: string | undefined, command: string): Promise<CanaryRow> {
  if (id !== undefined) return getCanary(db, id);
  const { running, watching } = await findOpenCanaries(db);
  const row = running ?? watching;
  if (row) return row;
  throw new AttuneError(`canary ${command}: no canary runs, and no policy is watched; give the id of one`);
}

async function describe(db: Database, settings: Settings, row: CanaryRow): Promise<string[]> {
  const { votes, evidence, guards, closes_at } = await describeCanary(db, settings, row);
  const [round] = row.round_id ? await db.select().from(rounds).where(eq(rounds.id, row.round_id)) : [];
  const { wins, losses, ties, both_bad, repeated, over_limit, raters } = votes;
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  const rate = evidence.win_rate;
  const toEvidence = (log10: number) => (10 ** log10).toPrecision(3);
  return [
    `${row.id}  ${row.state}${row.reason ? `: ${row.reason}` : ''}`,
    `policy     ${row.policy_id}, ${row.promoted_at ? 'active since its promotion' : `${percent(row.share)} of the completions`}`,
    `baseline   ${row.baseline_id}`,
    `started    ${formatMinute(row.created_at)} by ${row.created_by}${row.round_id ? `, of ${row.round_id}` : ''}`,
    ...(round?.reason ? [`its round  ${round.reason}`] : []),
    `closes     ${closes_at === null ? 'it has ended' : formatMinute(new Date(1000 * closes_at))}`,
    `votes      ${wins} for it, ${losses} against it, ${ties} ties, ${both_bad} both bad, ${repeated} on a comparison that has one, ${over_limit} over the limit of a rater; ${raters} raters`,
    `win rate   ${rate ? `${percent(rate.value)} (${percent(rate.interval.low)} to ${percent(rate.interval.high)})` : 'no votes yet'}`,
    `evidence   E+ ${toEvidence(evidence.better)}, E− ${toEvidence(evidence.worse)}; 20 decides`,
    ...guards.map(({ name, state, message }) => `${name.padEnd(15)} ${state.padEnd(8)} ${message}`),
  ];
}

function parseShare(text: string): number {
  const share = Number(text);
  if (share > 0 && share <= MAX_SHARE) return share;
  throw new InvalidArgumentError(`give a number above 0 and up to ${MAX_SHARE}`);
}
