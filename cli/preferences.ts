// attune preferences: imports, exports and counts preferences.

import { type Command, Option } from 'commander';
import { COMMAND } from '../shared/access/audit.ts';
import { tenantName } from '../shared/access/names.ts';
import { DEFAULT_TENANT } from '../shared/access/owner.ts';
import { AttuneError } from '../shared/error.ts';
import { EXPORT_FORMATS, type ExportFormat } from '../shared/preferences/export.ts';
import { type Aggregation, countMajorities, minReviews } from '../shared/preferences/majority.ts';
import {
  countPreferences,
  exportPreferences,
  type ImportReport,
  importPreferences,
} from '../shared/preferences/store.ts';
import { openRedact } from '../shared/redaction/open-redact.ts';
import { withContext } from './context.ts';
import { openInput } from './open-input.ts';
import { parseBy } from './parse-argument.ts';
import { printLines } from './print-lines.ts';

export function addPreferences(program: Command): void {
  const group = program
    .command('preferences')
    .description('import, export and count preferences')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune preferences import votes.jsonl\n  $ npx attune preferences export --format trl > pairs.jsonl\n  $ npx attune preferences stats\n',
    );

  group
    .command('import')
    .argument('<file>', 'JSONL or JSON file; - for standard input')
    .description('import preferences in the formats of OpenAI, TRL, OpenPipe, ShareGPT or Arena')
    .addOption(tenantOption('whose they become'))
    .action((file: string, { tenant }: { tenant: string }) =>
      withContext(async ({ db }, _localStore, { settings }) => {
        const source = await openInput(file, 'preferences import');
        let lastLineMs = Date.now();
        const onProgress = ({ rows, imported }: ImportReport) => {
          if (Date.now() - lastLineMs < 2000) return;
          lastLineMs = Date.now();
          console.error(`read ${rows} rows, imported ${imported}`);
        };
        const report = await importPreferences(db, source, {
          owner: { tenant, created_by: COMMAND },
          redact: await openRedact(settings.REDACT),
          maxRowBytes: settings.MAX_BODY_BYTES,
          onProgress,
        });
        for (const { row, message } of report.errors)
          console.error(message.startsWith('row ') ? message : `row ${row}: ${message}`);
        if (report.refused > report.errors.length)
          console.error(`and ${report.refused - report.errors.length} more refused rows`);
        console.log(`imported ${report.imported}, duplicates ${report.duplicates}, refused ${report.refused}`);
        if (report.imported + report.duplicates === 0)
          throw new AttuneError(`preferences import: no valid preference in ${file}`);
      }),
    );

  group
    .command('export')
    .addOption(new Option('--format <format>', 'format of the lines').choices(EXPORT_FORMATS).default('openai'))
    .addOption(new Option('--aggregate <rule>', 'one pair of each comparison, by its votes').choices(['majority']))
    .option(
      '--min-reviews <count>',
      'with --aggregate: how many votes a comparison needs (default: 1)',
      parseBy(minReviews),
    )
    .option('--exclude-paused', 'with --aggregate: leave out raters who are paused in the queue of the comparison')
    .description('write all preferences of a tenant, without ties, as JSONL to standard output')
    .addOption(tenantOption('whose to write'))
    .action((options: ExportOptions) =>
      withContext(async ({ db }) => {
        const aggregation = toAggregation(options);
        if (aggregation) {
          const counts = await countMajorities(db, options.tenant, aggregation);
          console.error(
            `${counts.pairs} pairs; left out: ${counts.ties} ties, ${counts.no_majority} without a majority, ${counts.too_few_reviews} with too few reviews`,
          );
        }
        await printLines(exportPreferences(db, options.format, options.tenant, aggregation));
      }),
    );

  group
    .command('stats')
    .description('count preferences')
    .addOption(tenantOption('whose to count'))
    .action(({ tenant }: { tenant: string }) =>
      withContext(async ({ db }) => console.log(JSON.stringify(await countPreferences(db, tenant), null, 2))),
    );
}

type ExportOptions = {
  format: ExportFormat;
  tenant: string;
  aggregate?: 'majority';
  minReviews?: number;
  excludePaused?: true;
};

function toAggregation({ aggregate, minReviews, excludePaused }: ExportOptions): Aggregation | null {
  if (aggregate) return { minReviews: minReviews ?? 1, excludePaused: excludePaused ?? false };
  if (minReviews === undefined && !excludePaused) return null;
  throw new AttuneError('preferences export: --min-reviews and --exclude-paused need --aggregate majority; add it');
}

function tenantOption(description: string): Option {
  return new Option('--tenant <tenant>', description).argParser(parseBy(tenantName)).default(DEFAULT_TENANT);
}
