// attune audit: writes the audit log.

import { type Command, Option } from 'commander';
import { AUDIT_ACTIONS, AUDIT_PREFIXES, type AuditFilter, exportAudit } from '../shared/access/audit.ts';
import { withContext } from './context.ts';
import { parseTime } from './parse-argument.ts';
import { printLines } from './print-lines.ts';

export function addAudit(program: Command): void {
  const group = program
    .command('audit')
    .description('write the audit log: who changed what')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune audit export > audit.jsonl\n  $ npx attune audit export --action canary. --since 2026-01-01\n',
    );

  group
    .command('export')
    .addOption(
      new Option('--action <action>', 'what was done, as key.created; canary. is all that is done to one').choices([
        ...AUDIT_ACTIONS,
        ...AUDIT_PREFIXES,
      ]),
    )
    .option('--actor <id>', 'who did it: the id of a key or a rater, command, trainer, or canary')
    .option('--target <id>', 'the id of what was changed')
    .option('--since <time>', 'an ISO 8601 date or time: events from then', parseTime)
    .option('--until <time>', 'an ISO 8601 date or time: events before then', parseTime)
    .description('write all events, or those that match, as JSONL to standard output, oldest first')
    .action((filter: AuditFilter) => withContext(({ db }) => printLines(exportAudit(db, filter))));
}
