// attune restore: restores a backup into an empty folder or database.

import path from 'node:path';
import type { Command } from 'commander';
import { rejectOnSignal } from '../shared/process.ts';
import { readSettings } from '../shared/settings.ts';
import { verifyArchive } from './backup/archive.ts';
import { restoreBackup } from './backup/restore-backup.ts';
import { openDatabase } from './context.ts';
import { createByteLogger } from './progress.ts';

export function addRestore(program: Command): void {
  program
    .command('restore')
    .argument('<file>', 'file that `attune backup` wrote')
    .description('restore a backup into an empty ATTUNE_HOME, or an empty database in DATABASE_URL')
    .addHelpText(
      'after',
      '\nThe file is verified first: a damaged one changes nothing. A backup of an older version is migrated.\n' +
        '\nExamples:\n  $ ATTUNE_HOME=/var/lib/attune-restored npx attune restore attune-2026-11-28.tar\n' +
        '  $ DATABASE_URL=postgres://… POLICY_STORE=s3://… npx attune restore attune.tar\n',
    )
    .action(async (name: string) => {
      const file = path.resolve(name);
      const settings = readSettings(process.env);
      const verified = createByteLogger('restore: verifying');
      const header = await rejectOnSignal(verifyArchive(file, verified.onBytes));
      const { databaseUrl, close } = await openDatabase(settings);
      try {
        const progress = createByteLogger('restore');
        const restored = restoreBackup(file, header, { settings, databaseUrl }, progress.onBytes);
        const { policies } = await rejectOnSignal(restored);
        const source = `the backup of ${header.created_at} by ${header.version}`;
        console.log(`restored ${policies} policies and all rows of ${source} (${progress.describe()})`);
      } finally {
        await close();
      }
    });
}
