// attune queues: creates, lists, fills, measures and exports queues of prompts for raters.

import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { asc, isNull } from 'drizzle-orm';
import { COMMAND } from '../shared/access/audit.ts';
import { queueName, tenantName } from '../shared/access/names.ts';
import { DEFAULT_TENANT } from '../shared/access/owner.ts';
import type { Database } from '../shared/database/connect.ts';
import { queues } from '../shared/database/schema.ts';
import { AttuneError } from '../shared/error.ts';
import { type QueueSettings, queueSettingsSchema } from '../shared/queue-settings.ts';
import { countItems } from '../shared/queues/count-items.ts';
import { exportItems } from '../shared/queues/export-items.ts';
import { type ImportFormat, importItems } from '../shared/queues/import-items.ts';
import { createQueue, findQueueOrThrow } from '../shared/queues/queues.ts';
import { openRedact } from '../shared/redaction/open-redact.ts';
import { withContext } from './context.ts';
import { openInput } from './open-input.ts';
import { parseBy } from './parse-argument.ts';
import { printLines } from './print-lines.ts';
import { printTable } from './print-table.ts';
import { printQuality } from './queue-quality.ts';

const COLUMNS = ['id', 'name', 'tenant', 'status', 'items', 'reviews'];

type CreateOptions = { guidelines?: string; settings: QueueSettings; tenant: string };

export function addQueues(program: Command): void {
  const group = program
    .command('queues')
    .description('create, list, fill, measure and export queues of prompts for raters')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune queues create "Support answers" --guidelines guidelines.md --settings \'{"reviews": 3}\'\n' +
        '  $ npx attune queues import que_… prompts.jsonl\n  $ npx attune queues quality que_…\n  $ npx attune queues export que_… > votes.jsonl\n',
    );

  group
    .command('create')
    .argument('<name>', 'what the queue is for', parseBy(queueName))
    .option('--guidelines <file>', 'a Markdown file that raters are shown')
    .addOption(
      new Option('--settings <json>', 'what POST /v1/queues takes: reviews, pairing, raters, skills, tags …')
        .argParser(parseSettings)
        .default(queueSettingsSchema.parse({}), 'those of POST /v1/queues'),
    )
    .option('--tenant <tenant>', 'whose it is', parseBy(tenantName), DEFAULT_TENANT)
    .description('create a queue and print its id')
    .action(async (name: string, { guidelines: file, settings, tenant }: CreateOptions) => {
      const guidelines = file === undefined ? '' : await readGuidelines(file);
      return withContext(async ({ db }) => {
        const owner = { tenant, created_by: COMMAND };
        const { id } = await db.transaction((transaction) =>
          createQueue(transaction, { name, guidelines, settings }, owner),
        );
        console.log(id);
      });
    });

  group
    .command('list')
    .description('list the queues, oldest first')
    .action(() =>
      withContext(async ({ db }) => {
        const cells = await listCells(db);
        if (cells.length === 0) return console.log('no queues; `attune queues create` makes one');
        printTable(COLUMNS, cells);
      }),
    );

  group
    .command('import')
    .argument('<id>', 'id of the queue')
    .argument('<file>', 'items as JSONL, or with --text a message of a user on each line; - for standard input')
    .option('--text', 'each line is a message of a user')
    .description('import items: {messages} or {prompt}, with group, given, or a and b with expected')
    .action((id: string, file: string, { text }: { text?: true }) =>
      withContext(async ({ db }, _localStore, { settings }) => {
        const queue = await findQueueOrThrow(db, id);
        const source = await openInput(file, 'queues import');
        const format: ImportFormat = text ? 'text' : 'jsonl';
        const report = await importItems(db, queue, source, {
          format,
          owner: { tenant: queue.tenant, created_by: COMMAND },
          redact: await openRedact(settings.REDACT),
          maxRowBytes: settings.MAX_BODY_BYTES,
        });
        console.log(`imported ${report.imported}, duplicates ${report.duplicates}`);
      }),
    );

  group
    .command('quality')
    .argument('<id>', 'id of the queue')
    .description('print how far its raters agree with each other, with known answers and with themselves')
    .action((id: string) => withContext(async ({ db }) => printQuality(db, (await findQueueOrThrow(db, id)).id)));

  group
    .command('export')
    .argument('<id>', 'id of the queue')
    .description('write its items with their responses and votes as JSONL to standard output')
    .action((id: string) =>
      withContext(async ({ db }) => printLines(exportItems(db, (await findQueueOrThrow(db, id)).id))),
    );
}

async function listCells(db: Database): Promise<string[][]> {
  const rows = await db.select().from(queues).where(isNull(queues.erased_at)).orderBy(asc(queues.id));
  const counts = await countItems(db, rows);
  return rows.map(({ id, name, tenant, status }) => {
    const { items, reviews } = counts.get(id)!;
    const rated = Object.values(items.rated).reduce((sum, count) => sum + count, 0);
    return [id, name, tenant, status, String(rated), `${reviews.done} of ${reviews.needed}`];
  });
}

function parseSettings(value: string): QueueSettings {
  let json: unknown;
  try {
    json = JSON.parse(value);
  } catch (error) {
    throw new InvalidArgumentError(`this is no JSON: ${(error as Error).message}`);
  }
  const { data, error } = queueSettingsSchema.safeParse(json);
  if (data) return data;
  const [issue] = error.issues;
  throw new InvalidArgumentError(`${issue!.path.join('.') || 'settings'}: ${issue!.message}`);
}

async function readGuidelines(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new AttuneError(`queues create: ${(error as Error).message}`);
  }
}
