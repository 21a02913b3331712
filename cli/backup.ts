// attune backup: writes everything that Attune stores into one file.

import path from 'node:path';
import type { Command } from 'commander';
import { writeBackup } from './backup/write-backup.ts';
import { withContext } from './context.ts';
import { createByteLogger } from './progress.ts';

export function addBackup(program: Command): void {
  program
    .command('backup')
    .argument('<file>', 'file to create')
    .description('write all rows of Postgres and all policies into one file, while Attune runs')
    .addHelpText(
      'after',
      '\nThe file has the prompts, responses and preferences as they are: keep it as you keep the database.\n' +
        '\nExamples:\n  $ npx attune backup attune-$(date +%F).tar\n  $ DATABASE_URL=postgres://… npx attune backup /mnt/backups/attune.tar\n',
    )
    .action((file: string) =>
      withContext(async (connection, localStore) => {
        const progress = createByteLogger('backup');
        const { rows, policies, leftOut } = await writeBackup(
          connection,
          localStore,
          path.resolve(file),
          progress.onBytes,
        );
        for (const [id, problem] of leftOut) console.error(`backup: ${id} is left out: ${problem}`);
        console.log(`wrote ${rows} rows and ${policies} policies into ${file} (${progress.describe()})`);
      }),
    );
}
