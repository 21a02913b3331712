// attune preferences: files of preferences in and out, and how many there are.

import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { AttuneError } from '../shared/error.ts';
import { countPreferences, exportPreferences, importPreferences } from '../shared/preferences/store.ts';
import { withContext } from './context.ts';

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
    .argument('<file>', 'JSONL or JSON; - for standard input')
    .description('take preferences in the shapes of OpenAI, TRL, OpenPipe, ShareGPT or Arena')
    .action((file: string) =>
      withContext(async ({ db }) => {
        const source = file === '-' ? process.stdin : await openFile(file);
        let told = Date.now();
        const report = await importPreferences(db, source, ({ rows, imported }) => {
          if (Date.now() - told < 2000) return;
          told = Date.now();
          console.error(`read ${rows} rows, imported ${imported}`);
        });
        for (const { row, message } of report.errors)
          console.error(message.startsWith('row ') ? message : `row ${row}: ${message}`);
        if (report.refused > report.errors.length)
          console.error(`and ${report.refused - report.errors.length} more refused rows`);
        console.log(`imported ${report.imported}, already there ${report.duplicates}, refused ${report.refused}`);
        if (report.imported + report.duplicates === 0)
          throw new AttuneError(`preferences import: ${file} has no preference that could be read`);
      }),
    );

  group
    .command('export')
    .addOption(new Option('--format <format>', 'shape of the lines').choices(['openai', 'trl']).default('openai'))
    .description('write every strict preference as JSONL to standard output')
    .action((options: { format: 'openai' | 'trl' }) =>
      withContext(async ({ db }) => {
        // Whoever reads may have enough, as `head` has.
        process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
        for await (const line of exportPreferences(db, options.format))
          if (!process.stdout.write(line)) await new Promise((resolve) => process.stdout.once('drain', resolve));
      }),
    );

  group
    .command('stats')
    .description('how many there are')
    .action(() => withContext(async ({ db }) => console.log(JSON.stringify(await countPreferences(db), null, 2))));
}

async function openFile(file: string): Promise<AsyncIterable<Uint8Array>> {
  try {
    // Opening a folder succeeds; only reading it fails.
    await using handle = await open(file);
    if ((await handle.stat()).isDirectory()) throw new Error(`${file} is a folder; name a file in it`);
  } catch (error) {
    throw new AttuneError(`preferences import: ${(error as Error).message}`);
  }
  return createReadStream(file);
}
