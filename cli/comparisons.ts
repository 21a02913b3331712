// attune comparisons: writes comparisons with all their votes, and their datasheet.

import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { type Command, Option } from 'commander';
import { tenantName } from '../shared/access/names.ts';
import { DEFAULT_TENANT } from '../shared/access/owner.ts';
import { AttuneError } from '../shared/error.ts';
import {
  assertQueueExists,
  type ComparisonFilter,
  countComparisons,
  readComparisons,
} from '../shared/export/comparisons.ts';
import { createDatasheet } from '../shared/export/create-datasheet.ts';
import { formatDatasheet } from '../shared/export/datasheet-markdown.ts';
import { toJsonLines } from '../shared/export/json-lines.ts';
import { toParquet } from '../shared/export/parquet.ts';
import { withContext } from './context.ts';
import { parseBy, parseTime } from './parse-argument.ts';
import { printLines } from './print-lines.ts';
import { createExportLogger } from './progress.ts';

type ExportOptions = ComparisonFilter & { format: 'jsonl' | 'parquet'; out?: string };
type DatasheetOptions = ComparisonFilter & { format: 'json' | 'markdown'; licence?: string };

export function addComparisons(program: Command): void {
  const group = program
    .command('comparisons')
    .description('write comparisons with all their votes, and their datasheet')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune comparisons export --format parquet --out comparisons.parquet\n  $ npx attune comparisons export --queue que_… --since 2026-01-01 > comparisons.jsonl\n  $ npx attune comparisons datasheet --licence CC-BY-4.0 > DATASHEET.md\n',
    );

  addFilter(group.command('export'))
    .addOption(new Option('--format <format>', 'format of the file').choices(['jsonl', 'parquet']).default('jsonl'))
    .option('--out <file>', 'where to write it; default: standard output')
    .description('write every comparison with both sides, their tokens and log-probabilities, and all votes')
    .action((options: ExportOptions) =>
      withContext(async ({ db }) => {
        const { format, out, ...filter } = options;
        if (format === 'parquet' && out === undefined && process.stdout.isTTY)
          throw new AttuneError('comparisons export: a Parquet file is not text; give --out, or redirect the output');
        await assertQueueExists(db, filter);
        const progress = createExportLogger('comparisons', await countComparisons(db, filter));
        const records = progress.count(readComparisons(db, filter));
        const chunks = format === 'jsonl' ? toJsonLines(records) : toParquet(records);
        try {
          await (out === undefined ? printLines(chunks) : writeFile(out, chunks));
        } finally {
          progress.stop();
        }
      }),
    );

  addFilter(group.command('datasheet'))
    .addOption(
      new Option('--format <format>', 'format of the datasheet').choices(['markdown', 'json']).default('markdown'),
    )
    .option('--licence <licence>', 'under which the data is handed on')
    .description('write a datasheet of the comparisons and votes that an export has')
    .action((options: DatasheetOptions) =>
      withContext(async ({ db }) => {
        const { format, licence, ...filter } = options;
        await assertQueueExists(db, filter);
        const sheet = await createDatasheet(db, filter, licence);
        console.log(format === 'markdown' ? formatDatasheet(sheet) : JSON.stringify(sheet, null, 2));
      }),
    );
}

function addFilter(command: Command): Command {
  return command
    .option('--queue <queue>', 'the id of a queue')
    .option('--since <time>', 'an ISO 8601 date or time: comparisons from then', parseTime)
    .option('--until <time>', 'an ISO 8601 date or time: comparisons before then', parseTime)
    .addOption(
      new Option('--tenant <tenant>', 'whose to write').argParser(parseBy(tenantName)).default(DEFAULT_TENANT),
    );
}

async function writeFile(file: string, chunks: AsyncIterable<string | Uint8Array>): Promise<void> {
  try {
    await pipeline(chunks, createWriteStream(file));
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    throw new AttuneError(`comparisons export: ${error.message}`);
  }
}
