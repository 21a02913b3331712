// attune erasures: erases what is stored of an end user, a rater, a key or a generation, and lists what was erased. Unlike the
// API it has no time limit.

import { type Command, Option } from 'commander';
import { desc } from 'drizzle-orm';
import { COMMAND } from '../shared/access/audit.ts';
import { tenantName } from '../shared/access/names.ts';
import { DEFAULT_TENANT } from '../shared/access/owner.ts';
import { erasures } from '../shared/database/schema.ts';
import { type DescribedErasure, describeErasure } from '../shared/erasure/describe.ts';
import { erase } from '../shared/erasure/erase.ts';
import { findSubject } from '../shared/erasure/subject.ts';
import { AttuneError } from '../shared/error.ts';
import { withContext } from './context.ts';
import { parseBy } from './parse-argument.ts';
import { formatMinute, printTable } from './print-table.ts';

const KINDS = ['user', 'rater', 'key', 'generation'] as const;

type CreateOptions = { [Kind in (typeof KINDS)[number]]?: string } & { tenant: string };

export function addErasures(program: Command): void {
  const group = program
    .command('erasures')
    .description('erase what is stored of an end user, a rater, a key or a generation')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune erasures create --user ann --tenant shop\n  $ npx attune erasures list\n  $ npx attune train --without-erased\n',
    );

  group
    .command('create')
    .addOption(new Option('--user <name>', 'an end user, as the field user, or a rater whom a backend named'))
    .addOption(new Option('--rater <id>', 'a rater by id, or as a preference names one: import:…'))
    .addOption(new Option('--key <id>', 'all that was stored with a key'))
    .addOption(new Option('--generation <id>', 'a generation, with its completion and what depends on it'))
    .option('--tenant <tenant>', 'of a user, or of a rater without an id', parseBy(tenantName), DEFAULT_TENANT)
    .description('erase texts, token ids, metadata and names for good; ids and digests stay')
    .action((options: CreateOptions) =>
      withContext(async ({ db }) => {
        const given = KINDS.filter((kind) => options[kind] !== undefined);
        if (given.length !== 1)
          throw new AttuneError(`erasures create: give one of ${KINDS.map((kind) => `--${kind}`).join(', ')}`);
        const [kind] = given;
        const row = await db.transaction(async (transaction) =>
          erase(transaction, await findSubject(transaction, kind!, options[kind!]!, options.tenant), COMMAND),
        );
        printErasures(await describeErasure(db, [row]));
      }),
    );

  group
    .command('list')
    .description('list the erasures, newest first, and the policies that learned from what was erased')
    .action(() =>
      withContext(async ({ db }) => {
        const rows = await db.select().from(erasures).orderBy(desc(erasures.id));
        if (rows.length === 0) return console.log('no erasures');
        printErasures(await describeErasure(db, rows));
      }),
    );
}

const HEADER = [
  'id',
  'time',
  'subject',
  'tenant',
  'completions',
  'comparisons',
  'preferences',
  'feedback',
  'learned by',
];

/** All of them give the same advice: to replace the active policy, if that learned from them. */
function printErasures(described: DescribedErasure[]): void {
  printTable(HEADER, described.map(listCells));
  for (const advice of new Set(described.map((erasure) => erasure.advice))) if (advice !== null) console.log(advice);
}

function listCells({ id, created_at, subject, tenant, counts, policies }: DescribedErasure): string[] {
  const { completions, comparisons, preferences, feedback = 0 } = counts;
  const learned = policies.map((policy) => `${policy.id} (${policy.relation})`);
  return [
    id,
    formatMinute(created_at),
    subject,
    tenant,
    ...[completions, comparisons, preferences, feedback].map(String),
    learned.join(', ') || 'no policy',
  ];
}
