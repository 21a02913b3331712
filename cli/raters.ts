// attune raters: creates, lists, changes and invites the people who rate.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { desc, isNull } from 'drizzle-orm';
import { COMMAND } from '../shared/access/audit.ts';
import {
  createInvitation,
  DEFAULT_EXPIRY_HOURS,
  MAX_EXPIRY_HOURS,
  SIGN_IN_PATH,
} from '../shared/access/invitations.ts';
import { raterName, tenantName } from '../shared/access/names.ts';
import { DEFAULT_TENANT } from '../shared/access/owner.ts';
import { createRater, findRaterOrThrow, type RaterRow, updateRater } from '../shared/access/raters.ts';
import { raters } from '../shared/database/schema.ts';
import { withContext } from './context.ts';
import { parseBy } from './parse-argument.ts';
import { printTable } from './print-table.ts';

const COLUMNS = ['id', 'name', 'tenant', 'skills', 'active'];

type CreateOptions = { skill: string[]; tenant: string };
type UpdateOptions = { name?: string; skill?: string[]; active?: true; inactive?: true };
type InviteOptions = { hours: number; url?: string };

export function addRaters(program: Command): void {
  const group = program
    .command('raters')
    .description('create, list, change and invite raters')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune raters create "Ann Example" --skill french law\n  $ npx attune raters invite rater_… --url https://attune.example.com\n  $ npx attune raters update rater_… --inactive\n',
    );

  group
    .command('create')
    .argument('<name>', 'the name of a person', parseBy(raterName))
    .option('--skill <skill...>', 'what the rater is asked about: languages, subjects', [])
    .option('--tenant <tenant>', 'whom the rater works for', parseBy(tenantName), DEFAULT_TENANT)
    .description('create a rater and print the id')
    .action((name: string, { skill, tenant }: CreateOptions) =>
      withContext(async ({ db }) => {
        const fields = { name, skills: [...new Set(skill)], active: true };
        const owner = { tenant, created_by: COMMAND };
        const { id } = await db.transaction((transaction) => createRater(transaction, fields, owner));
        console.log(id);
      }),
    );

  group
    .command('list')
    .description('list the raters, newest first')
    .action(() =>
      withContext(async ({ db }) => {
        const rows = await db.select().from(raters).where(isNull(raters.erased_at)).orderBy(desc(raters.id));
        if (rows.length === 0) return console.log('no raters; `attune raters create` makes one');
        printTable(COLUMNS, rows.map(listCells));
      }),
    );

  group
    .command('update')
    .argument('<id>', 'id of the rater')
    .option('--name <name>', 'the name of the person', parseBy(raterName))
    .option('--skill <skill...>', 'the skills, in place of those before')
    .addOption(new Option('--active', 'lets the rater sign in').conflicts('inactive'))
    .option('--inactive', 'signs the rater out within a second, for good, and lets nobody sign in as the rater')
    .description('change a rater')
    .action((id: string, { name, skill, active, inactive }: UpdateOptions, command: Command) => {
      const changes = {
        ...(name === undefined ? {} : { name }),
        ...(skill === undefined ? {} : { skills: [...new Set(skill)] }),
        ...(active || inactive ? { active: active === true } : {}),
      };
      if (Object.keys(changes).length === 0) command.error('error: give --name, --skill, --active or --inactive');
      return withContext(async ({ db }) => {
        const row = await db.transaction(async (transaction) =>
          updateRater(transaction, await findRaterOrThrow(transaction, id), changes, COMMAND),
        );
        printTable(COLUMNS, [listCells(row)]);
      });
    });

  group
    .command('invite')
    .argument('<id>', 'id of the rater')
    .option('--hours <hours>', 'hours until the invitation expires', parseHours, DEFAULT_EXPIRY_HOURS)
    .option('--url <url>', 'address of the server for the rater; default: this machine', parseUrl)
    .description('print a link that signs one browser in as the rater, once')
    .action((id: string, { hours, url }: InviteOptions) =>
      withContext(async ({ db }, _, { settings }) => {
        const { token } = await db.transaction(async (transaction) =>
          createInvitation(transaction, await findRaterOrThrow(transaction, id), hours, COMMAND),
        );
        console.log(`${url ?? `http://127.0.0.1:${settings.PORT}`}${SIGN_IN_PATH}?invitation=${token}`);
      }),
    );
}

function parseHours(value: string): number {
  const hours = Number(value);
  if (!Number.isInteger(hours) || hours < 1 || hours > MAX_EXPIRY_HOURS)
    throw new InvalidArgumentError(`give a whole number of hours from 1 to ${MAX_EXPIRY_HOURS}`);
  return hours;
}

function parseUrl(value: string): string {
  const url = URL.parse(value);
  if (!/^https?:$/.test(url?.protocol ?? '')) throw new InvalidArgumentError('give a URL: https://attune.example.com');
  if (url!.pathname !== '/')
    throw new InvalidArgumentError('give the address alone, without a path: the server answers at /sign-in');
  return url!.origin;
}

function listCells({ id, name, tenant, skills, active }: RaterRow): string[] {
  return [id, name, tenant, skills.join(','), active ? 'yes' : 'no'];
}
