// attune audit: writes the audit log.

import type { Command } from 'commander';
import { exportAudit } from '../shared/access/audit.ts';
import { withContext } from './context.ts';
import { printLines } from './print-lines.ts';

export function addAudit(program: Command): void {
  const group = program
    .command('audit')
    .description('write the audit log: who changed what')
    .addHelpText('after', '\nExamples:\n  $ npx attune audit export > audit.jsonl\n');

  group
    .command('export')
    .description('write all events as JSONL to standard output, oldest first')
    .action(() => withContext(({ db }) => printLines(exportAudit(db))));
}
