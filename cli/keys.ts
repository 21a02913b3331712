// attune keys: creates, lists, revokes and rotates API keys.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { desc } from 'drizzle-orm';
import { COMMAND } from '../shared/access/audit.ts';
import { createKey, type KeyRow, revokeKey, rotateKey } from '../shared/access/keys.ts';
import { keyName, tenantName } from '../shared/access/names.ts';
import { DEFAULT_TENANT } from '../shared/access/owner.ts';
import { api_keys } from '../shared/database/schema.ts';
import { SCOPE_DESCRIPTIONS, SCOPES, type Scope } from '../shared/scopes.ts';
import { withContext } from './context.ts';
import { parseBy } from './parse-argument.ts';
import { formatMinute, printTable } from './print-table.ts';

const DAY_MS = 86_400_000;
const MAX_DAYS = 36_500;

type CreateOptions = { scope: Scope[]; tenant: string; days?: number } & Partial<
  Record<'requests' | 'tokens' | 'concurrent' | 'rows', number>
>;

export function addKeys(program: Command): void {
  const group = program
    .command('keys')
    .description('create, list, revoke and rotate API keys')
    .addHelpText(
      'after',
      `\nScopes:\n${SCOPES.map((scope) => `  ${scope.padEnd(9)} ${SCOPE_DESCRIPTIONS[scope]}`).join('\n')}\n` +
        '\nExamples:\n  $ npx attune keys create "chat backend" --scope generate feedback\n  $ npx attune keys create "rating page" --scope rate --days 30\n',
    );

  group
    .command('create')
    .argument('<name>', 'what the key is for', parseBy(keyName))
    .addOption(new Option('--scope <scope...>', 'what it may do').choices(SCOPES).makeOptionMandatory())
    .option('--tenant <tenant>', 'whom it belongs to', parseBy(tenantName), DEFAULT_TENANT)
    .option('--days <days>', 'days until it expires; default: it does not', parseDays)
    .option('--requests <count>', 'requests per minute, on each Node server; default: its setting', parseCount)
    .option('--tokens <count>', 'tokens per minute, likewise', parseCount)
    .option('--concurrent <count>', 'generations at once, on each Node server; default: no limit', parseCount)
    .option(
      '--rows <count>',
      'completions, comparisons, preferences and imported rows per day (UTC); default: no limit',
      parseCount,
    )
    .description('create a key and print it, this once')
    .action((name: string, { scope, tenant, days, requests, tokens, concurrent, rows }: CreateOptions) =>
      withContext(async ({ db }) => {
        const expiresAt = days === undefined ? null : new Date(Date.now() + days * DAY_MS);
        const scopes = [...new Set(scope)];
        const limits = {
          requestsPerMinute: requests ?? null,
          tokensPerMinute: tokens ?? null,
          concurrentGenerations: concurrent ?? null,
          rowsPerDay: rows ?? null,
        };
        printKey(
          await db.transaction((transaction) =>
            createKey(transaction, { name, tenant, scopes, expiresAt, ...limits }, COMMAND),
          ),
        );
      }),
    );

  group
    .command('list')
    .description('list the keys, newest first, without their secrets')
    .action(() =>
      withContext(async ({ db }) => {
        const rows = await db.select().from(api_keys).orderBy(desc(api_keys.created_at));
        if (rows.length === 0) return console.log('no keys; `attune keys create` makes one');
        printTable(['id', 'name', 'tenant', 'scopes', 'expires', 'last used'], rows.map(listCells));
      }),
    );

  group
    .command('revoke')
    .argument('<id>', 'id of the key')
    .description('revoke a key for good; servers refuse it within a second')
    .action((id: string) =>
      withContext(async ({ db }) => {
        await db.transaction((transaction) => revokeKey(transaction, id, COMMAND));
        console.log(`${id} is revoked`);
      }),
    );

  group
    .command('rotate')
    .argument('<id>', 'id of the key')
    .description('give a key a new secret and print it, this once; the one before stops working within a second')
    .action((id: string) =>
      withContext(async ({ db }) => {
        printKey(await db.transaction((transaction) => rotateKey(transaction, id, COMMAND)));
      }),
    );
}

function parseDays(value: string): number {
  const days = Number(value);
  if (!(days > 0 && days <= MAX_DAYS))
    throw new InvalidArgumentError(`give a number of days above 0, at most ${MAX_DAYS}`);
  return days;
}

function parseCount(value: string): number {
  const count = Number(value);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('give a whole number above 0');
  return count;
}

/** The key alone on standard output, so that a script can store it. */
function printKey({ row, token }: { row: KeyRow; token: string }): void {
  console.error(`${row.id} (its id, for rotate and revoke); the key is shown this once:`);
  console.log(token);
}

function listCells({ id, name, tenant, scopes, revoked_at, expires_at, last_used_at }: KeyRow): string[] {
  const state = revoked_at
    ? `revoked ${formatMinute(revoked_at)}`
    : expires_at
      ? `${expires_at.getTime() <= Date.now() ? 'expired ' : ''}${formatMinute(expires_at)}`
      : 'never';
  return [id, name, tenant, scopes.join(','), state, last_used_at ? formatMinute(last_used_at) : 'never'];
}
